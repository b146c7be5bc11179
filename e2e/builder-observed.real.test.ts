import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBuilderWorld, python, type BuilderWorld } from './support/builder-world.ts';
import { startCollector, type Collector } from './support/collector.ts';
import { waitFor } from './support/wait.ts';

/* What an operator sees of the builder: traces, figures, checks, and what is kept from whoever asks for images. */

let collector: Collector;
let world: BuilderWorld;
beforeAll(async () => {
  collector = await startCollector();
  world = await openBuilderWorld({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
}, 120_000);
afterAll(async () => {
  await world.close();
  await collector.close();
});

const traceId = randomBytes(16).toString('hex');

test('a build is in the trace of its request, and counted', async () => {
  const { anna, admin } = world;
  const answer = await anna.request('/system/api/v1/build/start', {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    body: JSON.stringify(python(anna, 'traced', 'six==1.16.0\n')),
  });
  const { id } = (await answer.json()) as { id: string };
  expect(await anna.ended(id)).toMatchObject({ state: 'succeeded' });
  expect(await anna.ended(await anna.started(python(anna, 'again', 'six==1.16.0\n')))).toMatchObject({
    reused: true,
  });
  const names = await waitFor('the spans of the build', async () => {
    const seen = collector
      .spans()
      .filter((span) => span.traceId === traceId)
      .map(({ name }) => name);
    return seen.includes('build python') ? seen : undefined;
  });
  expect(names).toEqual(
    expect.arrayContaining([
      'POST /system/api/v1/build/start',
      'queue build python',
      'build python',
      'resolve',
      'buildkit',
      'tag',
    ]),
  );
  expect(names.filter((name) => name.startsWith('buildkit '))).not.toEqual([]);
  const figures = await (await admin.request('/metrics')).text();
  expect(figures).toContain('sluice_build_requests_total{answer="built"} 1');
  expect(figures).toContain('sluice_build_requests_total{answer="reused"} 1');
  expect(figures).not.toContain(anna.login);
  const page = await readFile(join(import.meta.dirname, '../docs/metrics.md'), 'utf8');
  const named = [...page.matchAll(/^\| `(sluice_build(?:s|er)?_[a-z_]+)` \|/gm)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(6);
  for (const name of named) expect(figures, name).toContain(`# TYPE ${name} `);
}, 420_000);

test('the checks look at BuildKit, the registry and the queue', async () => {
  const { processes } = (await (await world.admin.request('/system/checks')).json()) as {
    processes: { checks: { name: string; ok: boolean; message: string }[] }[];
  };
  const checks = processes.flatMap((one) => one.checks);
  const names = [
    'BuildKit',
    'image registry',
    'registry deletion',
    'registry collection',
    'builds that wait',
  ];
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(checks.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
}, 60_000);

test.each(['127.0.0.1:1/x', '10.0.0.1/x', '127.1:6379/x', '169.254.169.254/x', 'localhost:22/x'])(
  'the base image %s is asked for at no inner host',
  async (source) => {
    const { anna } = world;
    const { status, body } = await anna.start({ ...python(anna, 'x', 'six\n'), source });
    expect([status, body.message]).toEqual([403, expect.stringContaining('inner network')]);
  },
);
