import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RegistryClient } from '@sluice/shared/adapters';
import type { BuildProgress } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, freePort } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBuildctl, createImageRegistry, type BuildctlOptions } from '../../src/adapters/index.ts';
import type { BuildPlan, Built } from '../../src/ports.ts';
import { planOf, randomName, registryClient, runs, testBed } from './build-fixture.ts';

let root: string;
let client: RegistryClient;
/** Repositories whose images are removed afterwards. */
let used: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-buildctl-'));
  client = registryClient();
  used = [];
});
afterEach(async () => {
  const images = createImageRegistry({ client });
  for (const repository of used) {
    for (const tag of await images.tags(repository)) {
      const digest = await images.digestOf(`${repository}:${tag}`);
      if (digest !== undefined) await client.deleteManifest(`${repository}@${digest}`);
    }
  }
  await client.close();
  await rm(root, { recursive: true });
});

function repository(): string {
  const name = `${testBed().registry}/${randomName()}`;
  used.push(name);
  return name;
}

interface Trace {
  readonly lines: string[];
  readonly progress: BuildProgress[];
  readonly abort: AbortController;
}

const newTrace = (): Trace => ({ lines: [], progress: [], abort: new AbortController() });

function run(
  plan: BuildPlan,
  trace: Trace = newTrace(),
  more: Partial<BuildctlOptions> = {},
): Promise<Built> {
  const builder = createBuildctl({
    host: testBed().buildkit,
    env: { PATH: process.env['PATH'] ?? '' },
    tmpRoot: root,
    insecureRegistries: [testBed().registry],
    clock: systemClock,
    log: silentLogger(),
    ...more,
  });
  return builder.build(plan, {
    signal: trace.abort.signal,
    onProgress: (progress) => trace.progress.push(progress),
    onLog: (line) => {
      trace.lines.push(line);
      return Promise.resolve();
    },
  });
}

const failure = (plan: BuildPlan, trace?: Trace, more?: Partial<BuildctlOptions>): Promise<unknown> =>
  run(plan, trace, more).then(
    () => undefined,
    (error: unknown) => error,
  );

test('an image is made and pushed, from a cache the second time, with the same digest when forced', async () => {
  const target = repository();
  const cache = `${target}/cache:python`;
  used.push(`${target}/cache`);
  const unique = randomName();
  const plan = planOf(
    target,
    [
      'COPY requirements.txt /app/requirements.txt',
      `RUN cat /app/requirements.txt > /app/made && echo ${unique}`,
    ],
    { files: [{ name: 'requirements.txt', text: `${unique}\n` }], cache },
  );
  const trace = newTrace();
  const built = await run(plan, trace);
  expect(built).toMatchObject({ digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/), steps: 3 });
  expect(trace.lines).toContainEqual(expect.stringMatching(new RegExp(`^#\\d+ ${unique}$`)));
  const last = trace.progress.at(-1);
  expect(last?.done).toBe(last?.total);
  const details = await client.imageDetails(plan.push);
  expect(details).toMatchObject({ digest: built.digest, labels: { 'io.sluice.build.kind': 'python' } });
  expect(await createImageRegistry({ client }).tags(`${target}/cache`)).toEqual(['python']);
  // Layers of the base are shared, not written again.
  const base = await client.imageDetails(`${testBed().registry}/library/busybox`);
  const layers = new Set(details?.parts.map((part) => part.digest));
  expect(base?.parts.filter((part) => layers.has(part.digest)).length).toBeGreaterThan(0);

  expect(await run(plan)).toMatchObject({ digest: built.digest, steps: 3, cached: 2 });
  const forced = await run({ ...plan, force: true });
  expect(forced.digest).toBe(built.digest);
  expect(forced.cached).toBeLessThan(forced.steps);
  expect(await readdir(root)).toEqual([]);
});

test("a file of the same name and size is not another build's", async () => {
  const target = repository();
  const builds = ['one', 'two', 'six'].map((text) =>
    run(
      planOf(target, ['COPY x /x', 'RUN cat /x'], {
        push: `${target}:${text}`,
        files: [{ name: 'x', text }],
      }),
    ),
  );
  const digests = (await Promise.all(builds)).map((built) => built.digest);
  expect(new Set(digests).size).toBe(3);
});

test('an image that is built tells no age, with steps and without', async () => {
  const images = createImageRegistry({ client });
  for (const steps of [[], ['RUN true'], ['LABEL a=b']]) {
    const plan = planOf(repository(), steps);
    await run(plan);
    expect(await images.details(plan.push)).toMatchObject({ createdAt: undefined });
  }
});

test('attestations make an index, whose parts are all counted', async () => {
  const target = repository();
  const { digest } = await run(planOf(target, ['RUN echo attested > /x'], { provenance: true }));
  expect(await createImageRegistry({ client }).details(`${target}@${digest}`)).toMatchObject({
    createdAt: undefined,
  });
  const details = await client.imageDetails(`${target}@${digest}`);
  expect(details?.labels).toEqual({ 'io.sluice.build.kind': 'python' });
  const plain = await client.imageDetails(`${testBed().registry}/library/busybox`);
  expect(details?.size).toBeGreaterThan(plain?.size ?? Infinity);
  // The index, the image, its attestation; two configurations; layers of the base and of ours, the attestation itself.
  expect(details?.parts.length).toBeGreaterThanOrEqual(8);
});

test('a step that fails says what it said', async () => {
  const trace = newTrace();
  const step = "RUN echo looking; echo 'ERROR: No matching distribution found for nope' >&2; exit 3";
  const found = await failure(planOf(repository(), [step]), trace);
  expect(found).toMatchObject({
    code: 'unprocessable',
    retry: 'never',
    details: { reason: 'requirements_failed' },
  });
  expect(String(found)).toContain('failed with exit code 3');
  expect(String(found)).toContain('\nERROR: No matching distribution found for nope');
  expect(trace.lines).toContainEqual(
    expect.stringMatching(/^#\d+ ERROR: No matching distribution found for nope$/),
  );
  expect(await readdir(root)).toEqual([]);
});

test('a base image that is not there', async () => {
  const { registry } = testBed();
  const plan = { ...planOf(repository(), []), dockerfile: `FROM ${registry}/library/no-such-image:9\n` };
  const found = await failure(plan);
  expect(found).toMatchObject({ code: 'unprocessable', details: { reason: 'base_missing' } });
  expect(String(found)).toContain(`${registry}/library/no-such-image:9 is not there`);
});

test('a registry of the base that is not there', async () => {
  const port = await freePort();
  const plan = { ...planOf(repository(), []), dockerfile: `FROM 127.0.0.1:${port}/x:1\n` };
  expect(await failure(plan)).toMatchObject({
    code: 'unavailable',
    retry: 'later',
    details: { reason: 'registry_unavailable' },
  });
});

test('a build that is not wanted any more leaves nothing', async () => {
  const marker = `9${Date.now()}`;
  const trace = newTrace();
  const ended = failure(planOf(repository(), [`RUN sleep ${marker}`]), trace);
  await eventually('the step runs', () => runs(`sleep\0${marker}`));
  trace.abort.abort();
  expect(await ended).toMatchObject({ code: 'cancelled', details: { reason: 'cancelled' } });
  expect(await readdir(root)).toEqual([]);
  expect(runs(root)).toBe(false);
  await eventually('the step has ended', () => !runs(`sleep\0${marker}`));
  // Before it began.
  expect(await failure(planOf(repository(), []), trace)).toMatchObject({ code: 'cancelled' });
});

test('a build that takes too long is ended', async () => {
  const marker = `8${Date.now()}`;
  const found = await failure(planOf(repository(), [`RUN sleep ${marker}`], { timeoutMs: 2500 }));
  expect(found).toMatchObject({ code: 'timed_out', details: { reason: 'timed_out' } });
  expect(await readdir(root)).toEqual([]);
  await eventually('the step has ended', () => !runs(`sleep\0${marker}`));
});

test('output without end is cut', async () => {
  const trace = newTrace();
  const step = `RUN echo ${randomName()}; yes 0123456789012345678901234567890123456789 | head -c 50000000; exit 1`;
  const found = await failure(planOf(repository(), [step]), trace, { limits: { logLength: 100_000 } });
  expect(found).toMatchObject({ details: { reason: 'requirements_failed' } });
  expect(trace.lines.join('\n').length).toBeLessThan(110_000);
  expect(trace.lines.at(-1)).toContain('The log is cut here');
});

test('a log that cannot be written ends the build', async () => {
  const builder = createBuildctl({
    host: testBed().buildkit,
    env: { PATH: process.env['PATH'] ?? '' },
    tmpRoot: root,
    insecureRegistries: [],
    clock: systemClock,
    log: silentLogger(),
  });
  const marker = `7${Date.now()}`;
  const broken = new Error('the log is broken');
  const ended = builder.build(planOf(repository(), [`RUN sleep ${marker}`]), {
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onLog: () => Promise.reject(broken),
  });
  await expect(ended).rejects.toBe(broken);
  expect(await readdir(root)).toEqual([]);
  await eventually('the step has ended', () => !runs(`sleep\0${marker}`));
});

test('what dead processes left is swept, what lives stays', async () => {
  const builder = createBuildctl({
    host: testBed().buildkit,
    env: { PATH: process.env['PATH'] ?? '' },
    tmpRoot: join(root, 'builds'),
    insecureRegistries: [],
    clock: systemClock,
    log: silentLogger(),
  });
  expect(await builder.sweep()).toBe(0);
  // This process has its number, not its start; the other one is no process.
  for (const name of [`build-${process.pid}-1-aaaaaa`, 'build-4194999-123-bbbbbb', 'other']) {
    await mkdir(join(root, 'builds', name, 'docker'), { recursive: true });
  }
  const trace = newTrace();
  const marker = `6${Date.now()}`;
  const ended = failure(planOf(repository(), [`RUN sleep ${marker}`]), trace, {
    tmpRoot: join(root, 'builds'),
  });
  await eventually('the step runs', () => runs(`sleep\0${marker}`));
  expect(await builder.sweep()).toBe(2);
  expect((await readdir(join(root, 'builds'))).length).toBe(2);
  trace.abort.abort();
  await ended;
  expect(await readdir(join(root, 'builds'))).toEqual(['other']);
});
