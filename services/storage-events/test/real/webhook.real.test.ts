import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { buffer } from 'node:stream/consumers';
import {
  createS3BucketRules,
  createS3ObjectStore,
  type S3BucketRules,
  type S3ObjectStore,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createRuledNotifications } from '../../src/adapters/bucket-rules.ts';
import { createBusNotifications } from '../../src/adapters/bus-notifications.ts';
import { createWebhook, type Webhook } from '../../src/http/webhook.ts';
import { createStorageEvents, type StorageEvents } from '../../src/storage-events.ts';
import { openOwnMinio, webhookArn, type OwnMinio } from '../support/own-minio.ts';
import { createSharedLeases, type SharedLeases } from '../support/shared-leases.ts';
import { openWorld, type World } from '../support/world.ts';

/** What becomes of notifications on their way. */
type Fault = 'none' | 'dropped' | 'doubled' | 'held';

const token = `token-${randomBytes(8).toString('hex')}`;
const log = silentLogger();
/** Between MinIO and the webhook of the test that runs. */
const way: { fault: Fault; held: (() => Promise<void>)[]; target: string; told: number } = {
  fault: 'none',
  held: [],
  target: '',
  told: 0,
};
let between: Server;
let minio: OwnMinio;

beforeAll(async () => {
  between = createServer((request, response) => {
    void (async () => {
      const body = await buffer(request);
      const headers = {
        authorization: request.headers.authorization ?? '',
        'content-type': 'application/json',
      };
      const pass = async (): Promise<number> =>
        (await fetch(way.target, { method: 'POST', headers, body })).status;
      way.told += 1;
      let status = 200;
      if (way.fault === 'held') way.held.push(async () => void (await pass()));
      if (way.fault === 'doubled') await pass();
      if (way.fault === 'none' || way.fault === 'doubled') status = await pass();
      response.writeHead(status).end();
    })().catch(() => response.writeHead(502).end());
  }).listen(0, '127.0.0.1');
  await once(between, 'listening');
  const address = between.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  minio = await openOwnMinio({ url: `http://127.0.0.1:${port}/notify`, token });
}, 60_000);
afterAll(async () => {
  await minio.close();
  between.closeAllConnections();
  between.close();
});

let world: World;
let store: S3ObjectStore;
let rules: S3BucketRules;
let webhook: Webhook;
let leases: SharedLeases;
let bucket: string;
const replicas: StorageEvents[] = [];

beforeEach(async () => {
  world = await openWorld();
  store = await createS3ObjectStore({ connection: minio.connection, clock: systemClock });
  rules = await createS3BucketRules({ connection: minio.connection, namespace: 'test', arn: webhookArn });
  webhook = createWebhook({ bus: world.bus, token: new Secret(token), host: '127.0.0.1', port: 0, log });
  await webhook.start();
  Object.assign(way, {
    fault: 'none',
    held: [],
    target: `http://127.0.0.1:${webhook.port()}/notify`,
    told: 0,
  });
  leases = createSharedLeases();
  bucket = `events-${randomBytes(8).toString('hex')}`;
  await store.createBucket(bucket, {});
});
afterEach(async () => {
  for (const replica of replicas.splice(0)) await replica.stop();
  await webhook.stop();
  await rules.close();
  await store.deleteBucket(bucket);
  await store.close();
  await world.close();
});

/** @param asked keys that the store is asked for by name */
async function startReplica(name: string, intervalMs: number, asked: string[] = []): Promise<StorageEvents> {
  const own = leases.replica(name);
  const objects: S3ObjectStore = {
    ...store,
    head: async (of, key) => {
      asked.push(key);
      return store.head(of, key);
    },
  };
  const replica = createStorageEvents({
    source: createRuledNotifications({
      source: createBusNotifications({ bus: world.bus, objects, identity: 'notification' }),
      rules,
      leases: own,
      clock: systemClock,
      log,
      checkEveryMs: 200,
    }),
    definitions: world.definitions,
    ledger: world.ledger,
    objects,
    bus: world.bus,
    leases: own,
    clock: systemClock,
    log,
    metrics: createMetrics(),
    config: { settleMs: 0, reconcileIntervalMs: intervalMs, marginMs: 86_400_000 },
  });
  replicas.push(replica);
  await replica.start();
  return replica;
}

async function createService(name: string, folder: string): Promise<void> {
  await world.createService(name, [`${bucket}/${folder}`], await store.now());
}

async function isRuled(folder: string): Promise<void> {
  await eventually(`${folder} has its rule`, async () => rules.covers(bucket, [`${folder}/`]), 10_000);
}

/** Waits for the runs, has all listed and told once more, and one file behind that; says which keys have runs, in order, without it. */
async function keysOf(service: string, folder: string, count: number): Promise<readonly string[]> {
  await world.runs(service, count);
  for (const replica of replicas) await replica.reconcile();
  await Promise.all(way.held.splice(0).map(async (deliver) => deliver()));
  const last = `${folder}/~last`;
  await upload([last]);
  const runs = await eventually(`${last} has its run`, async () => {
    const found = await world.allRuns(service);
    return found.some((run) => run.input?.key === last) ? found : undefined;
  });
  const found = runs.map((run) => run.input?.key ?? '').filter((key) => key !== last);
  return found.toSorted();
}

const keys = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, at) => `in/file ${String(at).padStart(4, '0')}`);

async function upload(names: readonly string[]): Promise<void> {
  await Promise.all(names.map(async (key) => minio.client.putObject(bucket, key, key)));
}

test('an upload is claimed by its event alone: no listing, no request for the object, its metadata seen', async () => {
  await createService('thumb', 'in');
  const asked: string[] = [];
  const replica = await startReplica('first', 3_600_000, asked);
  await isRuled('in');
  // Nothing is being listed any more.
  await replica.reconcile();
  await minio.client.putObject(bucket, 'in/a', 'x', 1, { 'X-Amz-Meta-Sluice-Hop': '3' });
  const [run] = await world.runs('thumb', 1);
  expect(run).toMatchObject({ hop: 3, source: 'notification', input: { key: 'in/a', size: 1 } });
  expect(asked).toEqual([]);
  const listed = await store.list(bucket, { prefix: 'in/', limit: 1 });
  expect(run?.input?.identity).toBe(listed.objects[0]?.identity);
});

test.each<Fault>(['dropped', 'doubled', 'held'])(
  'with notifications %s each file has one run',
  async (fault) => {
    await createService('thumb', 'in');
    await startReplica('first', 500);
    await startReplica('second', 500);
    await isRuled('in');
    const names = keys(100);
    await upload(names.slice(0, 40));
    way.fault = fault;
    await upload(names.slice(40, 80));
    way.fault = 'none';
    await upload(names.slice(80));
    expect(await keysOf('thumb', 'in', names.length)).toEqual(names);
    await eventually('all have been told', () => way.told >= names.length, 20_000);
  },
  60_000,
);

test('uploads while services appear, a rule is removed by hand and MinIO is killed: nothing is lost or run twice', async () => {
  await createService('thumb', 'in');
  const first = await startReplica('first', 1000);
  await startReplica('second', 1000);
  await isRuled('in');
  const names = keys(120);
  await upload(names.slice(0, 30));
  await minio.client.removeAllBucketNotification(bucket);
  await upload(names.slice(30, 60));
  await isRuled('in');

  await minio.kill();
  await createService('later', 'new').catch(async () =>
    world.createService('later', [`${bucket}/new`], Date.now()),
  );
  await eventually(
    'it is said that the server is away',
    async () =>
      first.check?.().then(
        () => false,
        () => true,
      ),
    30_000,
  );
  await minio.start();
  await upload(names.slice(60));
  await upload(['new/a', 'new/b']);
  await isRuled('new');
  await upload(['new/c']);
  expect(await keysOf('later', 'new', 3)).toEqual(['new/a', 'new/b', 'new/c']);
  expect(await keysOf('thumb', 'in', names.length)).toEqual(names);
}, 90_000);

test('a burst is claimed by its events', async () => {
  await createService('thumb', 'in');
  const replica = await startReplica('first', 3_600_000);
  await isRuled('in');
  // Nothing is being listed any more.
  await replica.reconcile();
  const names = keys(500);
  for (let from = 0; from < names.length; from += 50) await upload(names.slice(from, from + 50));
  const runs = await world.runs('thumb', names.length);
  expect(runs.filter((run) => run.source === 'notification').length).toBeGreaterThan(names.length / 2);
}, 60_000);
