import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createService, runsOf, tokenOf } from './support/service.ts';
import { removeFolder, root, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

let data: string;
let server: Server;
let text: string;
let runIds: string[];
let token: string;

const services = ['watched', 'asked'];

interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
}

function families(): Family[] {
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$/gm)].map(
    ([, name = '', help = '', type = '']) => ({
      name,
      help,
      type,
    }),
  );
}

/** The value of the first series whose line begins so. */
function valueOf(series: string): number {
  const line = text.split('\n').find((one) => one.startsWith(series));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}

/** Every label value of every series, with the label's name. */
function labels(): { name: string; value: string }[] {
  return [...text.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', value = '']) => ({
    name,
    value,
  }));
}

beforeAll(async () => {
  data = await tempFolder();
  server = await startServer({ data, env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } });
  for (const name of services)
    await createService(server, name, 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/out"\n');
  token = await tokenOf(server, 'asked');
  await server.request('/system/buckets/watched/objects/in/a-name-of-a-file.txt', {
    method: 'PUT',
    body: '12345',
  });
  const answer = await fetch(`${server.url}/job/asked`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: 'an event of somebody',
  });
  if (answer.status !== 201) throw new Error(`the call was answered with ${answer.status}`);
  const runs = await waitFor('both runs', async () => {
    const all = [
      ...(await runsOf(server, 'watched', 'succeeded')),
      ...(await runsOf(server, 'asked', 'succeeded')),
    ];
    return all.length === 2 ? all : undefined;
  });
  runIds = runs.map((run) => run.id);
  await server.request('/no/such/path/at-all');
  text = await (await server.request('/metrics')).text();
});

afterAll(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

describe('names by the rules of promlint', () => {
  test('help, units, endings', () => {
    expect(families().length).toBeGreaterThan(25);
    for (const { name, type, help } of families()) {
      expect(name).toMatch(/^(sluice|process|nodejs)(_[a-z0-9]+)+$/);
      expect(help, name).toMatch(/^[A-Z0-9].*\.$/);
      expect(name, 'base units').not.toMatch(
        /_(ms|millis\w*|minutes|hours|days|kb|mb|kilobytes|megabytes|percent)(_|$)/,
      );
      expect(name.endsWith('_total'), `${name} is a ${type}`).toBe(type === 'counter');
      expect(name, 'these endings are made by histograms').not.toMatch(/_(bucket|count|sum)$/);
      if (type === 'histogram') expect(name).toMatch(/_(seconds|bytes)$/);
      expect(name, 'the type is no part of the name').not.toMatch(/_(gauge|counter|histogram)(_|$)/);
    }
  });

  test('labels are bounded: no run, file, event, person or token', () => {
    const names = new Set(labels().map(({ name }) => name));
    for (const name of ['run', 'run_id', 'key', 'bucket', 'user', 'path', 'url', 'trace_id']) {
      expect(names.has(name), name).toBe(false);
    }
    const hidden = [...runIds, 'a-name-of-a-file', 'somebody', token, server.password, 'at-all'];
    for (const { name, value } of labels()) {
      for (const one of hidden) expect(value.includes(one), `${name}="${value}"`).toBe(false);
    }
    const named = labels().filter(({ name }) => name === 'service');
    expect(new Set(named.map(({ value }) => value))).toEqual(new Set(services));
  });
});

test('what an operator asks for is there', () => {
  expect(valueOf('sluice_runs{state="succeeded"}')).toBe(2);
  expect(valueOf('sluice_runs{state="queued"}')).toBe(0);
  expect(valueOf('sluice_runs_oldest_queued_seconds')).toBe(0);
  expect(valueOf('sluice_dead_letters')).toBe(0);
  expect(valueOf('sluice_runs_finished_total{service="watched",state="succeeded"}')).toBe(1);
  expect(valueOf('sluice_run_attempt_seconds_count{service="asked"}')).toBe(1);
  expect(valueOf('sluice_run_queue_seconds_count{service="asked"}')).toBe(1);
  expect(valueOf('sluice_objects_bytes_total{direction="written"}')).toBeGreaterThanOrEqual(10);
  expect(valueOf('sluice_bus_messages{message="runs.start"')).toBe(0);
  expect(valueOf('sluice_database_transaction_seconds_count')).toBeGreaterThan(5);
  expect(valueOf('sluice_http_responses_total{status="201"}')).toBeGreaterThanOrEqual(3);
  expect(valueOf('process_resident_memory_bytes')).toBeGreaterThan(20_000_000);
  expect(text).toMatch(/^sluice_build_info\{version="\d+\.\d+\.\d+",node="24\.\d+\.\d+"\} 1$/m);
});

test('every name in a query of the page exists, and every metric is on the page', async () => {
  const page = await readFile(join(root, 'docs/metrics.md'), 'utf8');
  const known = new Set(
    families().flatMap(({ name, type }) =>
      type === 'histogram' ? [name, `${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );
  const [written = '', generated = ''] = page.split('<!-- generated: metrics');
  const used = [...written.matchAll(/\b(?:sluice|process|nodejs)_[a-z_]+\b/g)].map(([name]) => name);
  expect(used.length).toBeGreaterThan(15);
  for (const name of used) expect(known.has(name), name).toBe(true);
  for (const { name } of families()) expect(generated.includes(`| \`${name}\` |`), name).toBe(true);
});
