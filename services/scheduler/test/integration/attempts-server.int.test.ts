import { Writable } from 'node:stream';
import {
  podToken,
  runnerToken,
  type AttemptGrant,
  type AttemptOutcome,
  type PodSubject,
  type RunnerGrant,
  type StorageGrant,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { RunLedger, StoredDefinition } from '@sluice/shared/stores';
import { createLogger, createMetrics, type Registry } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createAttemptsServer, type AttemptsServer, type Scheduler } from '../../src/index.ts';
import { openReplicaWorld, type ReplicaWorld } from '../replicas.ts';
import { createTestCluster } from '../test-cluster.ts';

// The routes that pods ask, over a real scheduler; only the cluster is in memory.
const key = 'k'.repeat(32);
const storage: StorageGrant = {
  endpoint: 'http://minio:9000',
  region: 'us-east-1',
  access_key: 'short',
  secret_key: 'lived-secret',
  verify: false,
};
const limits = {
  attempts: { output_bytes: 1000, log_bytes: 2000 },
  runners: { output_bytes: 1000, body_bytes: 3000, response_bytes: 4000 },
};
const done: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };

let world: ReplicaWorld;
let server: AttemptsServer;
let scheduler: Scheduler;
let metrics: Registry;
let stored: StoredDefinition;
let runId: string;
let logged: string;
let ledgerAway: 'no' | 'away' | 'silent';
let answersAgain: PromiseWithResolvers<void>;

beforeEach(async () => {
  [logged, ledgerAway] = ['', 'no'];
  world = await openReplicaWorld();
  stored = await world.define({ name: 'demo', script: 'echo hello\n' });
  const cluster = createTestCluster({ perform: () => new Promise(() => undefined) });
  answersAgain = Promise.withResolvers();
  const get: RunLedger['get'] = (id) => {
    if (ledgerAway === 'silent') return answersAgain.promise.then(() => undefined);
    return ledgerAway === 'away'
      ? Promise.reject(new AppError('unavailable', 'The ledger is away.'))
      : world.ledger.get(id);
  };
  const replica = await world.replica(cluster.replica(), {
    ledger: { ...world.ledger, get },
    pods: {
      grants: { grant: () => Promise.resolve(storage) },
      limits,
      runnerKey: new Secret('r'.repeat(32)),
    },
  });
  ({ scheduler } = replica);
  metrics = createMetrics();
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, next) => {
      logged += chunk.toString();
      next();
    },
  });
  server = createAttemptsServer({
    desk: scheduler.desk,
    tokenKey: new Secret(key),
    clock,
    log: createLogger({ name: 'test', level: 'debug', destination: sink }),
    metrics,
    host: '127.0.0.1',
    port: 0,
    answerMs: 300,
  });
  await server.start();
  [runId = ''] = await world.claim(stored, 1);
  await eventually('the run to be taken', async () => (await world.ledger.get(runId))?.state === 'starting');
});
afterEach(async () => {
  answersAgain.resolve();
  await server.stop();
  await world.close();
});

const hour = 3_600_000;
const attemptToken = (attempt = 1, id = runId, expiresAt = clock.now() + hour): string =>
  podToken(key, { kind: 'attempt', runId: id, attempt }, expiresAt);

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

async function post(
  path: string,
  body: unknown,
  token: string | undefined = attemptToken(),
): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${server.port()}/v1/${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: token === '' ? {} : { authorization: `Bearer ${token}` },
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  };
}

const claim = (pod = 'pod-1'): Promise<Answer> => post(`attempts/${runId}/1/claim`, { pod });
const report = (more: object): Promise<Answer> =>
  post(`attempts/${runId}/1/report`, { run_id: runId, attempt: 1, ...more });
const running = (): Promise<Answer> => report({ kind: 'progress', phase: 'running' });
const finished = (outcome: AttemptOutcome = done): Promise<Answer> => report({ kind: 'finished', outcome });

test('a pod claims its attempt, tells how it goes and ends it', async () => {
  const first = await claim();
  expect(first.status).toBe(200);
  const grant = first.body as AttemptGrant;
  expect(grant).toMatchObject({ storage, limits: limits.attempts, run: { id: runId, state: 'starting' } });
  expect(grant.plan).toMatchObject({
    run_id: runId,
    attempt: 1,
    script: 'echo hello\n',
    service_version: 1,
    secrets: { environment: { SECRET: 'hush' } },
  });
  expect((await claim()).body).toEqual(first.body);
  expect((await running()).status).toBe(204);
  expect((await world.ledger.get(runId))?.state).toBe('running');
  expect((await running()).status).toBe(204);
  expect((await post(`attempts/${runId}/1/storage`, '')).body).toEqual(storage);
  expect((await finished()).status).toBe(204);
  expect((await world.ledger.get(runId))?.state).toBe('succeeded');
  // Said twice, since the answer was lost: it must be able to end.
  expect((await finished({ ...done, result: 'failed' })).status).toBe(204);
  expect((await world.ledger.get(runId))?.state).toBe('succeeded');
  const again = await claim();
  expect(again.status).toBe(409);
  expect(again.body).toMatchObject({ code: 'conflict', detail: expect.stringContaining('succeeded') });
  expect((await running()).status).toBe(409);
  expect((await post(`attempts/${runId}/1/storage`, '')).status).toBe(409);
});

test('an attempt that was given up is not granted, and its pod may end', async () => {
  await world.ledger.transition({ id: runId, from: ['starting'], to: 'queued', set: { attempt: 2 } });
  const refused = await claim();
  expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining('attempt') } });
  expect((await finished()).status).toBe(204);
  expect((await world.ledger.get(runId))?.state).not.toBe('succeeded');
});

test('a cancelled run is not granted', async () => {
  await world.ledger.requestCancel(runId, 'enough');
  expect(await claim()).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining('cancelled') },
  });
});

test('while the script runs no other pod begins it again', async () => {
  expect((await claim('pod-1')).status).toBe(200);
  expect((await claim('pod-2')).status).toBe(200);
  await running();
  expect((await claim('pod-2')).status).toBe(200);
  expect(await claim('pod-3')).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining('another pod') },
  });
});

test('only the token of this attempt opens its routes', async () => {
  const runner: PodSubject = { kind: 'runner', runnerId: runId, serviceUid: stored.uid, serviceVersion: 1 };
  const wrong = [
    '',
    'x',
    `${clock.now() + hour}.`,
    `${clock.now() + hour}.${'0'.repeat(64)}`,
    attemptToken(2),
    attemptToken(1, 'demo-other'),
    attemptToken(1, runId, clock.now() - 1),
    podToken('l'.repeat(32), { kind: 'attempt', runId, attempt: 1 }, clock.now() + hour),
    podToken(key, runner, clock.now() + hour),
  ];
  for (const route of ['claim', 'report', 'storage']) {
    for (const token of wrong) {
      const answer = await post(`attempts/${runId}/1/${route}`, { pod: 'p' }, token);
      expect([route, token, answer.status]).toEqual([route, token, 401]);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  }
  expect((await world.ledger.get(runId))?.state).toBe('starting');
});

test('hostile requests are refused with a sentence, and the next one is served', async () => {
  const path = `attempts/${runId}/1`;
  const cases: readonly [string, unknown, number, string?][] = [
    [`${path}/claim`, '{', 400],
    [`${path}/claim`, '', 400],
    [`${path}/claim`, [], 400],
    [`${path}/claim`, { pod: 7 }, 400, 'pod'],
    [`${path}/claim`, { pod: 'p'.repeat(5000) }, 413],
    [`${path}/report`, { kind: 'finished', run_id: runId, attempt: 1 }, 400],
    [`${path}/report`, { kind: 'finished', run_id: runId, attempt: 2, outcome: done }, 400, 'attempt'],
    [`${path}/report`, { kind: 'finished', run_id: 'demo-other', attempt: 1, outcome: done }, 400, 'run_id'],
    [`${path}/report`, `{"__proto__":{"kind":"finished"},"run_id":"${runId}"}`, 400],
    [`${path}/report`, '['.repeat(100_000), 400],
    [`${path}/report`, { kind: 'finished', junk: 'x'.repeat(2 ** 20) }, 413],
    [`attempts/${runId}/01/claim`, { pod: 'p' }, 404],
    [`attempts/${runId}/-1/claim`, { pod: 'p' }, 404],
    [`attempts/..%2f..%2fetc/1/claim`, { pod: 'p' }, 404],
    [`attempts/${'x'.repeat(250)}/1/claim`, { pod: 'p' }, 404],
    ['nothing', {}, 404],
  ];
  for (const [route, body, status, field] of cases) {
    const answer = await post(route, body);
    expect([route, answer.status]).toEqual([route, status]);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    if (field !== undefined) expect(answer.body).toMatchObject({ field });
  }
  expect((await world.ledger.get(runId))?.state).toBe('starting');
  expect((await claim()).status).toBe(200);
});

test('an end with too much in it still ends the run', async () => {
  await claim();
  const output = { bucket: 'out', key: 'k', size: 1, etag: 'e', identity: 'i', last_modified: 1 };
  const outputs = Array.from({ length: 500 }, () => output);
  expect((await finished({ ...done, outputs })).status).toBe(204);
  expect(await world.ledger.get(runId)).toMatchObject({ state: 'succeeded', outputs_omitted: 400 });
});

test('while the ledger is away or says nothing a pod is told to come again, at once', async () => {
  for (const how of ['away', 'silent'] as const) {
    ledgerAway = how;
    for (const answer of [await claim(), await finished(), await post(`attempts/${runId}/1/storage`, '')]) {
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
  }
  ledgerAway = 'no';
  // What was said while it was silent is not stuck in front of what is said now.
  expect((await claim()).status).toBe(200);
  expect((await finished()).status).toBe(204);
  expect((await world.ledger.get(runId))?.state).toBe('succeeded');
});

test('a runner claims its plan; when its service is gone it is refused', async () => {
  const subject = { kind: 'runner', runnerId: 'demo-r1', serviceUid: stored.uid, serviceVersion: 1 } as const;
  const token = podToken(key, subject, clock.now() + hour);
  const body = { pod: 'p', service: 'demo', service_uid: stored.uid, service_version: 1 };
  const granted = await post('runners/demo-r1/claim', body, token);
  expect(granted.status).toBe(200);
  const grant = granted.body as RunnerGrant;
  expect(grant.plan).toMatchObject({ runner_id: 'demo-r1', script: 'echo hello\n' });
  expect(grant.limits).toEqual(limits.runners);
  expect(grant.token).toBe(runnerToken('r'.repeat(32), 'demo-r1'));
  expect((await post('runners/demo-r1/storage', body, token)).body).toEqual(storage);
  expect((await post('runners/demo-r2/claim', body, token)).status).toBe(401);
  expect((await post('runners/demo-r1/claim', { ...body, service_version: 2 }, token)).status).toBe(401);
  expect((await post('runners/demo-r1/claim', { ...body, service: 'other' }, token)).status).toBe(409);
  await world.definitions.remove('demo');
  await eventually('it to be refused', async () => {
    const answer = await post('runners/demo-r1/claim', body, token);
    return answer.status === 409;
  });
});

test('requests are counted by route and code, and no secret is logged', async () => {
  await claim();
  await post(`attempts/${runId}/1/claim`, { pod: 'p' }, 'wrong');
  const text = await metrics.metrics();
  expect(text).toContain('sluice_pod_requests_total{route="/v1/attempts/:run/:attempt/claim",code="200"} 1');
  expect(text).toContain('sluice_pod_requests_total{route="/v1/attempts/:run/:attempt/claim",code="401"} 1');
  expect(text).not.toContain(runId);
  ledgerAway = 'away';
  await claim();
  expect(logged).toContain('request of a pod not served');
  for (const secret of [key, attemptToken().split('.')[1] ?? '', 'hush', 'lived-secret']) {
    expect(logged).not.toContain(secret);
  }
});

test('after the scheduler has stopped pods are told to come again', async () => {
  await scheduler.stop();
  expect((await claim()).status).toBe(503);
});
