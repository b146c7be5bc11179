import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCollector, type CollectedSpan, type Collector } from './support/collector.ts';
import { createService, runOf, runsOf, tokenOf } from './support/service.ts';
import { removeFolder, root, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

let data: string;
let server: Server;
let collector: Collector;

const collectorKey = 'the key of the collector';

async function start(env: Readonly<Record<string, string>>): Promise<Server> {
  return startServer({
    data,
    env: { SLUICE_LOG_LEVEL: 'debug', ...env },
  });
}

/** The span of that name; there must be exactly one in the trace. */
function only(spans: readonly CollectedSpan[], name: string): CollectedSpan {
  const found = spans.filter((span) => span.name === name);
  expect(found, `spans named ${name}`).toHaveLength(1);
  return found[0] as CollectedSpan;
}

function childrenOf(spans: readonly CollectedSpan[], parent: CollectedSpan): string[] {
  const children = spans.filter((span) => span.parentSpanId === parent.spanId);
  return children.toSorted((a, b) => Number(a.start - b.start)).map((span) => span.name);
}

/** Ids of the given span and of all above it. */
function lineOf(spans: readonly CollectedSpan[], from: CollectedSpan): string[] {
  const above = spans.find((span) => span.spanId === from.parentSpanId);
  return above === undefined ? [from.name] : [from.name, ...lineOf(spans, above)];
}

async function upload(path: string, body: Uint8Array | string, headers = {}): Promise<void> {
  const answer = await server.request(`/system/buckets/${path}`, {
    method: 'PUT',
    body: Buffer.from(body),
    headers,
  });
  expect(answer.status).toBe(201);
}

beforeAll(async () => {
  collector = await startCollector();
});
afterAll(async () => {
  await collector.close();
});
beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

describe('with a collector', () => {
  beforeEach(async () => {
    server = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=${encodeURIComponent(`Bearer ${collectorKey}`)}`,
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=e2e',
    });
  });

  test('one connected trace from the upload through two services to the outputs', async () => {
    const applied = await server.sluice('apply', join(root, 'examples/pipeline/pipeline.yaml'));
    expect(applied.code, applied.stderr).toBe(0);
    const sample = await readFile(join(root, 'examples/pipeline/samples/readings.csv'));
    // As a query and a header could carry what is not for traces.
    await upload('pipeline/objects/in/readings.csv?note=in-the-query', sample);

    const reports = await waitFor('four reports', async () => {
      const runs = await runsOf(server, 'pipeline-report', 'succeeded');
      return runs.length === 4 ? runs : undefined;
    });
    const [split] = await runsOf(server, 'pipeline-split');
    const { trace_id: traceId } = (await runOf(server, split?.id ?? '')) as unknown as { trace_id: string };
    // The first service's attempt and the four of the second: all of the trace has come.
    const spans = await waitFor('the spans', () => {
      const mine = collector.spans().filter((span) => span.traceId === traceId);
      return mine.filter(({ name }) => name.startsWith('attempt')).length === 5 ? mine : undefined;
    });

    // Connected: one root, and every parent is there.
    const ids = new Set(spans.map((span) => span.spanId));
    expect(ids.size).toBe(spans.length);
    const roots = spans.filter((span) => !ids.has(span.parentSpanId));
    expect(roots.map((span) => span.name)).toEqual(['PUT /system/buckets/:bucket/objects/*']);
    expect(roots[0]?.parentSpanId).toBe('');

    const [put] = roots as [CollectedSpan];
    expect(childrenOf(spans, put)).toEqual(['accept pipeline-split']);
    const accept = only(spans, 'accept pipeline-split');
    expect(childrenOf(spans, accept)).toEqual(['queue pipeline-split', 'attempt pipeline-split']);
    const attempt = only(spans, 'attempt pipeline-split');
    expect(childrenOf(spans, attempt)).toEqual([
      'fetch pipeline-split',
      'script pipeline-split',
      'upload pipeline-split',
    ]);
    const uploaded = only(spans, 'upload pipeline-split');
    expect(childrenOf(spans, uploaded)).toEqual(Array.from({ length: 4 }, () => 'accept pipeline-report'));
    for (const last of spans.filter((span) => span.name === 'upload pipeline-report')) {
      expect(lineOf(spans, last)).toEqual([
        'upload pipeline-report',
        'attempt pipeline-report',
        'accept pipeline-report',
        'upload pipeline-split',
        'attempt pipeline-split',
        'accept pipeline-split',
        'PUT /system/buckets/:bucket/objects/*',
      ]);
    }
    // 1 upload, and accept, queue, attempt, fetch, script, upload of five runs.
    expect(spans).toHaveLength(1 + 5 * 6);
    for (const span of spans) expect(span.end >= span.start, span.name).toBe(true);
    for (const span of [only(spans, 'fetch pipeline-split'), uploaded]) {
      expect(span.start >= attempt.start && span.end <= attempt.end, span.name).toBe(true);
    }
    const named = new Set(reports.map((run) => run.id));
    for (const span of spans.filter(({ name }) => name === 'accept pipeline-report')) {
      expect(named.has(String(span.attributes['sluice.run.id']))).toBe(true);
      expect(span.attributes).toMatchObject({
        'faas.trigger': 'datasource',
        'sluice.service': 'pipeline-report',
      });
    }
  });

  test('a call’s trace goes on into the script; what is secret, in a query or a name goes nowhere', async () => {
    await createService(server, 'calls', 'echo "TP=$TRACEPARENT"\nexit 3\n');
    const token = await tokenOf(server, 'calls');
    const trace = 'a'.repeat(32);
    const answer = await fetch(`${server.url}/job/calls?hidden=in-the-query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, traceparent: `00-${trace}-${'b'.repeat(16)}-01` },
      body: 'hidden in the body',
    });
    expect(answer.status).toBe(201);
    const id = answer.headers.get('x-run-id') ?? '';
    const spans = await waitFor('the attempt', () => {
      const mine = collector.spans().filter((span) => span.traceId === trace);
      return mine.some(({ name }) => name === 'attempt calls') ? mine : undefined;
    });
    const http = only(spans, 'POST /job/:name');
    expect(http).toMatchObject({
      parentSpanId: 'b'.repeat(16),
      kind: 2,
      attributes: {
        'http.route': '/job/:name',
        'http.request.method': 'POST',
        'http.response.status_code': 201,
      },
    });
    const attempt = only(spans, 'attempt calls');
    expect(lineOf(spans, attempt)).toEqual(['attempt calls', 'accept calls', 'POST /job/:name']);
    expect(attempt).toMatchObject({
      failed: true,
      attributes: {
        'sluice.run.id': id,
        'faas.invocation_id': id,
        'sluice.attempt': 1,
        'sluice.result': 'failed',
        'error.type': 'script_failed',
        'process.exit.code': 3,
      },
    });
    const script = only(spans, 'script calls');
    const log = await (await server.request(`/system/logs/calls/${id}`)).text();
    expect(log).toContain(`TP=00-${trace}-${script.spanId}-01`);

    const all = collector.bodies().join('\n');
    expect(all).toContain('deployment.environment.name');
    expect(collector.headers()['authorization']).toBe(`Bearer ${collectorKey}`);
    for (const hidden of [
      token,
      server.password,
      collectorKey,
      'hidden',
      'in-the-query',
      'readings.csv',
      'authorization',
    ]) {
      expect(all.includes(hidden), hidden).toBe(false);
    }
    expect(server.stderr()).not.toContain(collectorKey);
  });

  test('what waits is sent at the end', async () => {
    await createService(server, 'last', 'true\n');
    await upload('last/objects/in/a.txt', 'a');
    await waitFor('the run', async () => (await runsOf(server, 'last', 'succeeded'))[0]);
    const ended = await server.stop();
    expect(ended.code).toBe(0);
    expect(collector.spans().some(({ name }) => name === 'attempt last')).toBe(true);
  });
});

test('a collector that is away changes nothing: files are worked on, one line says so', async () => {
  const gone = await startCollector();
  await gone.close();
  server = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: gone.url });
  await createService(server, 'away', 'true\n');
  for (const name of ['a', 'b', 'c']) await upload(`away/objects/in/${name}`, name);
  await waitFor('three runs', async () =>
    (await runsOf(server, 'away', 'succeeded')).length === 3 ? true : undefined,
  );
  const ended = await server.stop();
  expect(ended.code).toBe(0);
  const lines = ended.stderr.split('\n').filter((line) => line.includes('traces cannot be sent'));
  expect(lines).toHaveLength(1);
});

test('sampled at nought nothing is sent, and the context says so to whoever comes after', async () => {
  const before = collector.spans().length;
  server = await start({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
  });
  await createService(server, 'none', 'echo "TP=$TRACEPARENT"\n: > "$TMP_OUTPUT_DIR/out.txt"\n');
  await upload('none/objects/in/a.txt', 'a');
  const run = await waitFor('the run', async () => (await runsOf(server, 'none', 'succeeded'))[0]);
  const log = await (await server.request(`/system/logs/none/${run.id}`)).text();
  expect(log).toMatch(/TP=00-[0-9a-f]{32}-[0-9a-f]{16}-00/);
  const head = await server.request('/system/buckets/none/objects/out/out.txt', { method: 'HEAD' });
  expect(head.headers.get('x-amz-meta-traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  // Whoever asks for a trace gets it.
  const trace = 'c'.repeat(32);
  await upload('none/objects/in/b.txt', 'b', { traceparent: `00-${trace}-${'d'.repeat(16)}-01` });
  await waitFor('the asked for trace', () =>
    collector.spans().some((span) => span.traceId === trace && span.name === 'attempt none')
      ? true
      : undefined,
  );
  expect(
    new Set(
      collector
        .spans()
        .slice(before)
        .map((span) => span.traceId),
    ),
  ).toEqual(new Set([trace]));
});
