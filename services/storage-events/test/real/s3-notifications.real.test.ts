import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createS3ObjectStore, type S3ObjectStore } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import type { ObjectInfo } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { Client, CopyDestinationOptions, CopySourceOptions } from 'minio';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createS3Notifications } from '../../src/adapters/s3-notifications.ts';
import { notificationIdentity } from '../../src/domain/notified-object.ts';
import { parseNotification } from '../../src/domain/parse-notification.ts';
import { openWorld, type World } from '../support/world.ts';

let store: S3ObjectStore;
let client: Client;
let bucket: string;

beforeEach(async () => {
  const { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY } = process.env;
  if (!MINIO_ENDPOINT || !MINIO_ACCESS_KEY || !MINIO_SECRET_KEY) {
    throw new Error('this test needs a MinIO: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY');
  }
  const endpoint = new URL(MINIO_ENDPOINT);
  const [accessKey, region] = [MINIO_ACCESS_KEY, 'us-east-1'];
  store = await createS3ObjectStore({
    connection: { endpoint, region, accessKey, secretKey: new Secret(MINIO_SECRET_KEY), verify: true },
    clock: systemClock,
  });
  client = new Client({
    endPoint: endpoint.hostname,
    port: Number(endpoint.port),
    useSSL: endpoint.protocol === 'https:',
    accessKey,
    secretKey: MINIO_SECRET_KEY,
    region,
  });
  bucket = `events-${randomBytes(8).toString('hex')}`;
  await store.createBucket(bucket, {});
});
afterEach(async () => {
  await store.deleteBucket(bucket);
  await store.close();
});

const odd = ['a b', 'a+b', 'a%20b', '100%', 'ü', 'e\u0301', '日本', '😀', 'q\'u"o', '007', 'true', 'x&y=z;'];

/** 200 uploads and more: plain, over one another, in parts, copied, with every kind of key. */
async function writeMany(): Promise<void> {
  for (let at = 0; at < 150; at += 1) {
    await client.putObject(bucket, `in/plain ${at % 100}`, Buffer.from(`text ${at}`));
  }
  for (const key of odd) await client.putObject(bucket, `in/${key}`, key);
  for (const key of odd) {
    const source = new CopySourceOptions({ Bucket: bucket, Object: `in/${key}` });
    await client.copyObject(
      source,
      new CopyDestinationOptions({ Bucket: bucket, Object: `in/copy of ${key}` }),
    );
  }
  for (let at = 0; at < 30; at += 1) await store.put(bucket, `in/ours ${at}`, Buffer.from('x'));
  // Of unknown size, and more than is held in memory: in parts.
  const pieces = Array.from({ length: 20 }, () => Buffer.alloc(1024 * 1024, 'p'));
  await store.put(bucket, 'in/large', Readable.from(pieces));
  await client.putObject(bucket, 'in/empty', '');
}

async function listAll(): Promise<readonly ObjectInfo[]> {
  return (await store.list(bucket, { prefix: 'in/', limit: 1000 })).objects;
}

describe('the stream of a real MinIO', () => {
  /** Listens while `write` writes; what the stream told last of each key, once it told of all that is listed. */
  async function told(write: () => Promise<void>): Promise<ReadonlyMap<string, string | undefined>> {
    const identities = new Map<string, string | undefined>();
    const stop = new AbortController();
    const { promise: opened, resolve: onOpen } = Promise.withResolvers<void>();
    const listening = store.listen({
      signal: stop.signal,
      onOpen,
      onNotification: (body) => {
        for (const record of parseNotification(body, 'plain').records)
          if (record.bucket === bucket) identities.set(record.key, notificationIdentity(record));
      },
    });
    await opened;
    await write();
    const listed = await listAll();
    await eventually(
      'the stream tells of the last state of each object',
      () => listed.every(({ key, identity }) => identities.get(key) === identity),
      20_000,
    );
    stop.abort();
    await listening;
    return identities;
  }

  test('gives each object the identity that a listing gives it', async () => {
    const identities = await told(writeMany);
    const listed = await listAll();
    expect(listed).toHaveLength(100 + 2 * odd.length + 30 + 2);
    expect(Object.fromEntries(identities)).toEqual(
      Object.fromEntries(listed.map(({ key, identity }) => [key, identity])),
    );
  });

  test('also in a bucket that keeps versions', async () => {
    await client.setBucketVersioning(bucket, { Status: 'Enabled' });
    const identities = await told(async () => {
      for (const text of ['1', '2', '3']) await client.putObject(bucket, 'in/a', text);
      await client.putObject(bucket, 'in/b', 'b');
    });
    const listed = await listAll();
    expect(Object.fromEntries(identities)).toEqual(
      Object.fromEntries(listed.map(({ key, identity }) => [key, identity])),
    );
    expect((await store.head(bucket, 'in/a'))?.identity).toBe(identities.get('in/a'));
  });
});

describe('a service with its input on a real MinIO', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(async () => {
    await world.close();
  });

  test('gives each object one run, and a listing finds none without', async () => {
    const log = silentLogger();
    const source = createS3Notifications({ listen: store.listen, objects: store, clock: systemClock, log });
    await world.createService('svc', [`${bucket}/in`], await store.now());
    const component = await world.start({
      source,
      objects: store,
      config: { settleMs: 0, reconcileIntervalMs: 3_600_000 },
    });
    await writeMany();
    const listed = await listAll();
    const claimed = async (): Promise<Set<string>> =>
      new Set((await world.allRuns('svc')).map(({ input }) => `${input?.key} ${input?.identity}`));
    await eventually(
      'each object has its run',
      async () => {
        const runs = await claimed();
        return listed.every(({ key, identity }) => runs.has(`${key} ${identity}`));
      },
      20_000,
    );
    expect(await component.reconcile()).toMatchObject({ found: 0, failed: 0 });
    const runs = await world.allRuns('svc');
    expect(runs).toHaveLength((await claimed()).size);
    // What was overwritten may have had its run before.
    expect(runs.length).toBeGreaterThanOrEqual(listed.length);
    expect(runs.length).toBeLessThanOrEqual(listed.length + 50);
    expect(runs.filter((run) => run.source === 'notification').length).toBeGreaterThan(listed.length / 2);
  });
});
