import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, freePort } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBuildctl, type Buildctl, type BuildctlOptions } from '../../src/adapters/index.ts';
import type { BuildPlan } from '../../src/ports.ts';
import {
  endStep,
  login,
  makeCertificates,
  openOwnBuildkitd,
  openOwnRegistry,
  openRelay,
  planOf,
  randomName,
  runs,
  testBed,
} from './build-fixture.ts';

let root: string;
let closers: (() => Promise<void>)[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-buildctl-'));
  closers = [async () => rm(root, { recursive: true })];
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

function open(more: Partial<BuildctlOptions> = {}): Buildctl {
  return createBuildctl({
    host: testBed().buildkit,
    env: { PATH: process.env['PATH'] ?? '' },
    tmpRoot: root,
    insecureRegistries: ['127.0.0.1'],
    clock: systemClock,
    log: silentLogger(),
    ...more,
  });
}

/** All that anybody gets to see of a build, and how it ended. */
async function shown(plan: BuildPlan, builder = open()): Promise<{ text: string; end: unknown }> {
  const lines: string[] = [];
  const end = await builder
    .build(plan, {
      signal: new AbortController().signal,
      onProgress: (progress) => lines.push(JSON.stringify(progress)),
      onLog: (line) => {
        lines.push(line);
        return Promise.resolve();
      },
    })
    .catch((error: unknown) => error);
  expect(await readdir(root)).toEqual([]);
  return { text: [...lines, String(end), JSON.stringify(end)].join('\n'), end };
}

test('a registry that is not there is tried again later', async () => {
  const port = await freePort();
  const { end } = await shown(planOf(`127.0.0.1:${port}/anna`, ['RUN true']));
  expect(end).toMatchObject({
    code: 'unavailable',
    retry: 'later',
    details: { reason: 'registry_unavailable' },
    message: expect.stringMatching(new RegExp(`^The registry 127\\.0\\.0\\.1:${port} cannot be reached`)),
  });
});

test('a registry that wants a login gets it, and nobody else does', async () => {
  const registry = await openOwnRegistry('login');
  closers.push(registry.close);
  const plan = planOf(`${registry.host}/anna`, [`RUN echo ${randomName()}`], {
    cache: `${registry.host}/anna/cache:python`,
  });
  const without = await shown(plan);
  expect(without.end).toMatchObject({
    code: 'forbidden',
    retry: 'never',
    details: { reason: 'registry_refused' },
  });
  const other = { username: 'anna', password: 'wrong-password' };
  const wrong = await shown({ ...plan, logins: { [registry.host]: other } });
  expect(wrong.end).toMatchObject({ code: 'forbidden', details: { reason: 'registry_refused' } });
  expect(wrong.text).not.toContain(other.password);
  const right = await shown({ ...plan, logins: { [registry.host]: login, 'other.example': other } });
  expect(right.end).toMatchObject({ digest: expect.stringMatching(/^sha256:/) });
  for (const secret of [
    login.password,
    Buffer.from(`anna:${login.password}`).toString('base64'),
    'wrong-p',
  ]) {
    expect(right.text).not.toContain(secret);
  }
});

test('a password that is printed all the same is masked', async () => {
  const registry = await openOwnRegistry('login');
  closers.push(registry.close);
  const step = `RUN echo ${randomName()} "${login.password}"; exit 1`;
  const { end, text } = await shown(
    planOf(`${registry.host}/anna`, [step], { logins: { [registry.host]: login } }),
  );
  expect(end).toMatchObject({ details: { reason: 'requirements_failed' } });
  expect(text).toContain('[redacted]');
  expect(text).not.toContain(login.password);
});

test('a registry that is read-only', async () => {
  const registry = await openOwnRegistry('read-only');
  closers.push(registry.close);
  const { end } = await shown(planOf(`${registry.host}/anna`, ['RUN true']));
  expect(end).toMatchObject({
    code: 'unavailable',
    details: { reason: 'registry_unavailable' },
    message: expect.stringContaining('is read-only now'),
  });
});

test('a registry whose disk is full', async () => {
  const registry = await openOwnRegistry('full');
  closers.push(registry.close);
  const { end } = await shown(planOf(`${registry.host}/anna`, ['RUN true']));
  expect(end).toMatchObject({
    code: 'storage_full',
    retry: 'later',
    details: { reason: 'registry_unavailable' },
    message: expect.stringContaining(registry.host),
  });
});

test('the way to the daemon breaks in the middle', async () => {
  const relay = await openRelay(testBed().buildkit);
  closers.push(relay.cut);
  const marker = `5${Date.now()}`;
  const ended = shown(
    planOf(`${testBed().registry}/${randomName()}`, [`RUN sleep ${marker}`]),
    open({ host: relay.host }),
  );
  await eventually('the step runs', () => runs(`sleep\0${marker}`));
  await relay.cut();
  expect((await ended).end).toMatchObject({
    code: 'unavailable',
    retry: 'later',
    details: { reason: 'builder_unavailable' },
  });
  await eventually('the step has ended', () => !runs(`sleep\0${marker}`));
});

test('a daemon with TLS; one that is stopped in the middle; one that is away', async () => {
  const certificates = await makeCertificates();
  closers.push(async () => rm(certificates.folder, { recursive: true }));
  const daemon = await openOwnBuildkitd(certificates);
  closers.push(daemon.close);
  const host = `tcp://${daemon.host}`;
  const tls = { ca: certificates.ca, cert: certificates.cert, key: new Secret(certificates.key) };
  const builder = open({ host, tls });
  await builder.check();
  await expect(open({ host, tls: { ca: certificates.ca } }).check()).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('BUILDKIT_CERT'),
  });
  await expect(open({ host, limits: { checkMs: 3000 } }).check()).rejects.toMatchObject({
    code: 'unavailable',
  });

  const marker = `4${Date.now()}`;
  const ended = shown(planOf(`${testBed().registry}/${randomName()}`, [`RUN sleep ${marker}`]), builder);
  await eventually('the step runs', () => runs(`sleep\0${marker}`), 30_000);
  // With SIGTERM it waits for its builds.
  await daemon.signal('SIGKILL');
  expect((await ended).end).toMatchObject({
    code: 'unavailable',
    retry: 'later',
    details: { reason: 'builder_unavailable' },
  });
  // Nobody is left who could end it.
  endStep(marker);

  await expect(builder.check()).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(/^BuildKit does not answer at tcp:.*BUILDKIT_HOST/),
  });
  expect((await shown(planOf('127.0.0.1:1/x', []), builder)).end).toMatchObject({
    code: 'unavailable',
    details: { reason: 'builder_unavailable' },
  });
});

test('a daemon that knows nothing takes steps from the cache in the registry', async () => {
  const registry = await openOwnRegistry('login');
  closers.push(registry.close);
  const plan = planOf(`${registry.host}/anna`, ['COPY x /x', `RUN echo ${randomName()} > /y`], {
    files: [{ name: 'x', text: 'of anna' }],
    cache: `${registry.host}/anna/cache:python`,
    logins: { [registry.host]: login },
  });
  expect((await shown(plan)).end).toMatchObject({ steps: 3 });
  const daemon = await openOwnBuildkitd();
  closers.push(daemon.close);
  const other = open({ host: `tcp://${daemon.host}` });
  const { end, text } = await shown({ ...plan, push: `${registry.host}/anna:two` }, other);
  // The digest is another one where the base image has no history, as stand-ins have: BuildKit then says in it where layers came from.
  expect(end).toMatchObject({ steps: 3, cached: 2 });
  expect(text).not.toContain(login.password);
  // Another user's build reads it where it is shared, and goes on without one that is not there.
  const shared = [`${registry.host}/library/cache:python`, `${registry.host}/anna/cache:python`];
  const more = { user: 'bob', push: `${registry.host}/bob:one`, cache: undefined, sharedCaches: shared };
  expect((await shown({ ...plan, ...more }, other)).end).toMatchObject({ cached: 2 });
});

test('a program that is not there', async () => {
  await expect(open({ program: 'no-buildctl-here' }).check()).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('no-buildctl-here cannot be started'),
  });
});
