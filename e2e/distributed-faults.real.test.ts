import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubectl, startComponentRefused } from './support/distributed.ts';
import { openFaultsWorld, type FaultsWorld } from './support/faults-world.ts';
import { pushDockerfile } from './support/images.ts';
import { keysOf, textOf, versionsOf } from './support/minio.ts';
import type { KubeFault } from './support/kube-faults.ts';
import { definitionOf, runsOf, type RunView } from './support/service.ts';
import { waitFor } from './support/wait.ts';

/* What users see when something fails: docs/failures.md. */

const copy = 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"';
/** Longest that a refusal may take. */
const fastMs = 6000;

let world: FaultsWorld;
beforeAll(async () => {
  world = await openFaultsWorld();
}, 300_000);
afterAll(async () => {
  await world.close();
});

/** Without the marker of the folder, which the api makes. */
const outputsOf = async (service: string): Promise<string[]> =>
  (await keysOf(world.servers.minio.client, service, 'out/')).filter((key) => key !== 'out/');
const states = (runs: readonly RunView[]): readonly string[] => runs.map(({ state }) => state).toSorted();
const attemptPods = async (service: string, ...more: readonly string[]): Promise<string[]> =>
  (await kubectl('get', 'pods', '-n', world.form.jobs, '-o', 'name', ...more))
    .split('\n')
    .filter((name) => name.startsWith(`pod/${service}-`));

const openPods = (service: string): Promise<string[]> =>
  attemptPods(service, '--field-selector=status.phase!=Succeeded,status.phase!=Failed');

async function apply(name: string): Promise<Response> {
  const body = JSON.stringify(definitionOf(name, '#!/bin/sh\ntrue\n', { image: 'busybox' }));
  return world.form.request('/system/services', { method: 'POST', body });
}

async function expectRefusal(ask: () => Promise<Response>): Promise<void> {
  const from = performance.now();
  const answer = await ask();
  expect(answer.status).toBe(503);
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(performance.now() - from).toBeLessThan(fastMs);
}

test.each([
  ['NATS_PASSWORD', 'wrong-one', /NATS/],
  ['REDIS_URL', undefined, /REDIS_URL/],
  ['MINIO_SECRET_KEY', 'wrong-one', /MINIO_/],
])('a wrong %s ends the process at its start, with the sentence', async (variable, value, said) => {
  const { env } = world.servers;
  const wrong = value ?? (env['REDIS_URL'] ?? '').replace(/:[^:@]+@/, ':wrong-one@');
  const ended = await startComponentRefused('storage-events', {
    ...env,
    SLUICE_NAMESPACE: 'refused',
    SLUICE_START_WAIT: '5',
    [variable]: wrong,
  });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(said);
  expect(ended.stderr).not.toContain('wrong-one');
});

describe('a server is away', () => {
  test('NATS: reading goes on, nothing that was accepted is lost', async () => {
    await world.create('nats', `sleep 1; ${copy}`);
    await Promise.all([0, 1, 2].map((at) => world.put('nats', `before-${at}`, 'x')));
    const { nats } = world.servers;
    await world.outage({ stop: () => nats.stop('SIGKILL'), start: nats.start }, async () => {
      await world.put('nats', 'meanwhile', 'x');
      await expectRefusal(() => apply('nats-new'));
      await expectRefusal(() => world.submit('nats'));
      // Definitions lie in NATS; runs, logs and objects do not.
      await expectRefusal(() => world.form.request('/system/services'));
      expect((await world.form.request('/system/runs?service=nats')).status).toBe(200);
      expect((await world.form.request('/system/buckets')).status).toBe(200);
    });
    await world.put('nats', 'after', 'x');
    // The refused call may have been stored nevertheless: to repeat it under its key is safe.
    await waitFor(
      'the call to be accepted',
      async () => (await world.submit('nats')).status === 201 || undefined,
    );
    const runs = await world.ended('nats', 6);
    expect(states(runs)).toEqual(Array(6).fill('succeeded'));
    expect(new Set(runs.map(({ input }) => input?.key)).size).toBe(6);
    expect((await apply('nats-new')).status).toBe(201);
  });

  test('Redis: what needs the ledger is refused, definitions are read', async () => {
    await world.create('redis', `sleep 1; ${copy}`);
    await Promise.all([0, 1, 2].map((at) => world.put('redis', `before-${at}`, 'x')));
    const { redis } = world.servers;
    await world.outage({ stop: () => redis.stop('SIGKILL'), start: redis.start }, async () => {
      await world.put('redis', 'meanwhile', 'x');
      await expectRefusal(() => world.submit('redis'));
      await expectRefusal(() => world.form.request('/system/runs?service=redis'));
      expect((await world.form.request('/system/services')).status).toBe(200);
    });
    await world.put('redis', 'after', 'x');
    const runs = await world.ended('redis', 5);
    expect(states(runs)).toEqual(Array(5).fill('succeeded'));
  });

  test('MinIO: buckets answer 503, attempts under way are tried again', async () => {
    await world.create('s3-away', `sleep 2; ${copy}`);
    await Promise.all([0, 1, 2].map((at) => world.put('s3-away', `before-${at}`, 'x')));
    await world.runWhere('s3-away', ({ state }) => state === 'running');
    const { minio } = world.servers;
    await world.outage({ stop: () => minio.stop('SIGKILL'), start: minio.start }, async () => {
      await expectRefusal(() => world.form.request('/system/buckets'));
      expect((await world.form.request('/system/runs?service=s3-away')).status).toBe(200);
    });
    await world.put('s3-away', 'after', 'x');
    const runs = await world.ended('s3-away', 4);
    expect(states(runs)).toEqual(Array(4).fill('succeeded'));
    expect(await outputsOf('s3-away')).toHaveLength(4);
  });

  test('the API server: runs wait and those under way go on', async () => {
    await world.create('kube', `sleep 1; ${copy}`);
    await world.put('kube', 'before', 'x');
    await world.runWhere('kube', ({ state }) => state === 'running');
    await world.outage({ stop: world.kube.shut, start: world.kube.open }, async () => {
      expect((await world.submit('kube')).status).toBe(201);
      await world.put('kube', 'meanwhile', 'x');
      // Supervisors speak to the scheduler, not to the cluster.
      await world.runWhere('kube', ({ input, state }) => input?.key === 'in/before' && state === 'succeeded');
    });
    const runs = await world.ended('kube', 3);
    expect(states(runs.filter(({ input }) => input !== undefined))).toEqual(['succeeded', 'succeeded']);
  });
});

test('an API server that refuses, does not answer and breaks off at random: each run ends once', async () => {
  const seed = Number(process.env['SLUICE_TEST_SEED'] ?? '1');
  const files = Array.from({ length: 12 }, (_, at) => `${at}`);
  const { client } = world.servers.minio;
  await world.create('kube-faults', copy);
  await client.setBucketVersioning('kube-faults', { Status: 'Enabled' });
  world.kubeFaults.begin(seed);
  await Promise.all(files.map((name) => world.put('kube-faults', name, name)));
  const runs = await world.ended('kube-faults', files.length).finally(() => world.kubeFaults.end());
  console.log(JSON.stringify({ seed, faults: world.kubeFaults.met }));
  expect(runs.map(({ state, attempt }) => [state, attempt])).toEqual(files.map(() => ['succeeded', 1]));
  expect(new Set(runs.map(({ input }) => input?.key)).size).toBe(files.length);
  const ends = runs.map(({ timeline }) => timeline.filter(({ state }) => state === 'succeeded').length);
  expect(new Set(ends)).toEqual(new Set([1]));
  const outputs = await versionsOf(client, 'kube-faults', 'out/');
  expect(outputs).toEqual(new Map(files.map((name) => [`out/${name}`, 1])));
  const kinds: KubeFault[] = ['busy', 'broken', 'unanswered', 'gone', 'gone-within', 'cut', 'short'];
  expect(kinds.filter((kind) => world.kubeFaults.met[kind] === undefined)).toEqual([]);
});

describe('somebody meddles', () => {
  test.each([
    ['pod', 'pod-gone'],
    ['job', 'job-gone'],
  ])('a %s that is deleted while its script runs: the run is tried again', async (kind, name) => {
    await world.create(name, `sleep 8; ${copy}`);
    await world.put(name, 'a', 'content');
    await world.runWhere(name, ({ state }) => state === 'running');
    await kubectl('delete', kind, '--all', '-n', world.form.jobs, '--wait=false');
    const [run] = await world.ended(name, 1);
    expect(run).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(await textOf(world.servers.minio.client, name, 'out/a')).toBe('content');
  });

  test('a definition that changes while runs wait is used by those, and its end cancels them', async () => {
    const one = { sluice: { max_concurrency: 1 } };
    await world.create('changed', 'sleep 4; echo first', one);
    await world.put('changed', 'a', 'x');
    await world.runWhere('changed', ({ state }) => state === 'running');
    await world.put('changed', 'b', 'x');
    await world.runWhere('changed', ({ input }) => input?.key === 'in/b');
    const update = definitionOf('changed', '#!/bin/sh\necho second\n', { image: 'busybox', ...one });
    const changed = await world.form.request('/system/services', {
      method: 'PUT',
      body: JSON.stringify(update),
    });
    expect(changed.ok).toBe(true);
    const runs = await world.ended('changed', 2);
    const logs = await Promise.all(
      runs.map(async ({ id, input }) => [
        input?.key,
        await (await world.form.request(`/system/logs/changed/${id}`)).text(),
      ]),
    );
    expect(Object.fromEntries(logs)).toMatchObject({
      'in/a': expect.stringContaining('first') as string,
      'in/b': expect.stringContaining('second') as string,
    });
  });

  test('a service that is deleted: its waiting runs are cancelled, those under way are ended', async () => {
    await world.create('deleted', 'sleep 60', { sluice: { max_concurrency: 1 } });
    await world.put('deleted', 'a', 'x');
    await world.put('deleted', 'b', 'x');
    await world.runWhere('deleted', ({ state }) => state === 'running');
    await world.runWhere('deleted', ({ state }) => state === 'queued');
    expect((await world.form.request('/system/services/deleted', { method: 'DELETE' })).status).toBe(204);
    const runs = await world.ended('deleted', 2);
    expect(states(runs)).toEqual(['cancelled', 'cancelled']);
    await waitFor(
      'no pod to be left',
      async () => (await attemptPods('deleted')).length === 0 || undefined,
      60_000,
    );
  });

  test('an object that is overwritten before its fetch: superseded, and its successor has its own run', async () => {
    await world.create('twice', `sleep 4; ${copy}`, { sluice: { max_concurrency: 1 } });
    await world.put('twice', 'first', 'x');
    await world.runWhere('twice', ({ state }) => state === 'running');
    await world.put('twice', 'again', 'old');
    await world.runWhere('twice', ({ input }) => input?.key === 'in/again');
    await world.put('twice', 'again', 'new');
    const runs = await world.ended('twice', 3);
    expect(states(runs)).toEqual(['succeeded', 'succeeded', 'superseded']);
    expect(await textOf(world.servers.minio.client, 'twice', 'out/again')).toBe('new');
  });
});

describe('what cannot work', () => {
  // Whether the kernel ends the whole container, and the cluster says so, or only a process of it, is the node's to choose.
  test('a script out of memory fails with that sentence', async () => {
    await world.create('greedy', 'a=xxxxxxxx; while :; do a=$a$a; done');
    await world.put('greedy', 'a', 'x');
    const [run] = await world.ended('greedy', 1);
    expect(run).toMatchObject({ state: 'failed' });
    expect(run?.failure?.message).toMatch(/out of memory at \d+Mi/);
  });

  test('an image without a shell: the run fails at once with what to do, and no pod is left running', async () => {
    const name = `sluice-test/shellless-${randomBytes(4).toString('hex')}:v1`;
    const image = await pushDockerfile(name, [
      'FROM busybox AS base',
      'FROM scratch',
      'COPY --from=base /bin/busybox /program',
    ]);
    await world.create('shellless', 'true', { image });
    await world.put('shellless', 'a', 'x');
    const [run] = await world.ended('shellless', 1);
    const message = `the image ${image} has no /bin/sh, which runs the script: use an image with a shell`;
    expect(run).toMatchObject({ state: 'failed', attempt: 1, failure: { code: 'image_unusable', message } });
    await waitFor('its pod to end', async () => (await openPods('shellless')).length === 0 || undefined);
  });

  test('an image that is not there: the time line says so while the run waits', async () => {
    await world.create('imageless', 'true', { image: 'no-such-image:1' });
    await world.put('imageless', 'a', 'x');
    const waits = ({ timeline }: RunView): boolean =>
      timeline.some(({ message = '' }) => /no-such-image:1.* cannot be pulled/.test(message));
    const { id } = await world.runWhere('imageless', waits);
    expect((await world.form.request(`/system/runs/${id}/cancel`, { method: 'POST' })).status).toBe(202);
    expect(states(await world.ended('imageless', 1))).toEqual(['cancelled']);
  });

  test('a notification that cannot be read becomes a dead letter, and others pass it', async () => {
    await world.create('poison', copy);
    const nats = await world.servers.openNats();
    nats.publish(world.servers.notifySubject, '{"EventName": 7, "Records": "none"}');
    nats.publish(world.servers.notifySubject, 'not even JSON');
    await nats.drain();
    await world.put('poison', 'a', 'x');
    expect(states(await world.ended('poison', 1))).toEqual(['succeeded']);
    const letters = await waitFor('two dead letters', async () => {
      const answer = await world.form.request('/system/dead-letters');
      const { dead_letters: found } = (await answer.json()) as {
        dead_letters: { name: string; reason: string }[];
      };
      const ours = found.filter(({ name }) => name === 'storage.notify');
      return ours.length >= 2 ? ours : undefined;
    });
    expect(letters).toHaveLength(2);
  });

  test('an event of 1 MiB reaches its script whole', async () => {
    await world.create('large', 'wc -c < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/size"');
    const body = JSON.stringify({ filler: randomBytes(393_210).toString('base64') });
    expect(body.length).toBeLessThanOrEqual(2 ** 20);
    expect((await world.submit('large', body)).status).toBe(201);
    expect(states(await world.ended('large', 1))).toEqual(['succeeded']);
    expect((await textOf(world.servers.minio.client, 'large', 'out/size')).trim()).toBe(`${body.length}`);
  });
});

describe('limits', () => {
  test('two schedulers together never run more scripts than there are slots', async () => {
    const uptime = 'cut -d" " -f1 /proc/uptime';
    await world.create(
      'slots',
      `a=$(${uptime}); sleep 1; echo "$a $(${uptime})" > "$TMP_OUTPUT_DIR/\${INPUT_FILE_PATH##*/}"`,
    );
    await Promise.all(Array.from({ length: 16 }, (_, at) => world.put('slots', `${at}`, 'x')));
    expect(states(await world.ended('slots', 16))).toEqual(Array(16).fill('succeeded'));
    const { client } = world.servers.minio;
    const keys = await outputsOf('slots');
    expect(keys).toHaveLength(16);
    const texts = await Promise.all(keys.map((key) => textOf(client, 'slots', key)));
    const spans = texts.map((text) => text.trim().split(' ').map(Number));
    const atOnce = spans.map(([from = 0]) => spans.filter(([a = 0, b = 0]) => a <= from && from < b).length);
    expect(Math.max(...atOnce)).toBeGreaterThan(1);
    expect(Math.max(...atOnce)).toBeLessThanOrEqual(4);
  });

  test('Redis at its limit refuses with the reason, and takes up again', async () => {
    await world.create('full', copy);
    const redis = world.servers.openRedis();
    await redis.config('SET', 'maxmemory', '1mb');
    const answer = await world.submit('full');
    expect([answer.status, await answer.text()]).toEqual([507, expect.stringContaining('maxmemory')]);
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
    await world.put('full', 'a', 'x');
    await redis.config('SET', 'maxmemory', '0');
    redis.disconnect();
    expect(states(await world.ended('full', 1))).toEqual(['succeeded']);
    expect((await runsOf(world.form, 'full')).filter(({ input }) => input === undefined)).toEqual([]);
  });

  test('a full stream of commands refuses calls, and files are run when there is room', async () => {
    await world.create('stream', copy);
    const { jetstreamManager } = await import('@nats-io/jetstream');
    const nats = await world.servers.openNats();
    const manager = await jetstreamManager(nats);
    const names = await manager.streams.list().next();
    const stream = names.find(
      ({ config }) => config.name === `${world.form.namespace.toUpperCase()}_CMD_RUNS_START`,
    )?.config;
    if (stream === undefined) throw new Error(names.map(({ config }) => config.name).join(' '));
    await manager.streams.update(stream.name, { max_bytes: 1 });
    const answer = await world.submit('stream');
    expect([answer.status, await answer.text()]).toEqual([429, expect.stringContaining('too much waits')]);
    await world.put('stream', 'a', 'x');
    await manager.streams.update(stream.name, { max_bytes: stream.max_bytes });
    await nats.drain();
    await world.runWhere('stream', ({ input, state }) => input !== undefined && state === 'succeeded');
  });
});
