import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createAssumeRole, createS3ObjectStore, type S3ObjectStore } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import type { ServiceDefinition, StorageGrant } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { definitionOf, fakeClock } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createS3Grants } from '../../src/adapters/s3-grants.ts';

const id = randomBytes(6).toString('hex');
const [bucket, others] = [`grants-${id}`, `grants-others-${id}`];
const name = `svc-${id}`;
const event = `events/${randomBytes(32).toString('hex')}`;
const system = [
  event,
  `runs/${name}/r/outcome-1.json`,
  `runs/${name}-2/r`,
  `logs/${name}-2/r/1`,
  `private-${id}`,
];

function connection() {
  const { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY } = process.env;
  if (!MINIO_ENDPOINT || !MINIO_ACCESS_KEY || !MINIO_SECRET_KEY) {
    throw new Error('this test needs a MinIO: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY');
  }
  const secretKey = new Secret(MINIO_SECRET_KEY);
  return {
    endpoint: new URL(MINIO_ENDPOINT),
    region: 'us-east-1',
    accessKey: MINIO_ACCESS_KEY,
    secretKey,
    verify: true,
  };
}

const io = (path: string) => ({ storage_provider: 'minio.default', path });

function definition(more: Partial<ServiceDefinition> = {}): ServiceDefinition {
  return definitionOf(name, { input: [io(`${bucket}/in`)], output: [io(`${bucket}/out/q"u'o`)], ...more });
}

let root: S3ObjectStore;

beforeAll(async () => {
  root = await createS3ObjectStore({ connection: connection(), clock: systemClock });
  for (const one of [bucket, others]) await root.createBucket(one, {});
  await root.createBucket(SYSTEM_BUCKET, {});
  for (const key of ['in/a', 'in/deep/b', 'in-2/a', 'other/a', `out/q"u'o/a`])
    await root.put(bucket, key, Buffer.from(key));
  await root.put(others, 'in/a', Buffer.from('x'));
  for (const key of system) await root.put(SYSTEM_BUCKET, key, Buffer.from(key));
});
afterAll(async () => {
  for (const one of [bucket, others]) await root.deleteBucket(one);
  for (const key of [...system, `runs/${name}/big`, `logs/${name}/r/1`])
    await root.remove(SYSTEM_BUCKET, key);
  await root.close();
});

/** The store as a pod has it. */
async function asPod(grant: StorageGrant, use: (store: S3ObjectStore) => Promise<void>): Promise<void> {
  const store = await createS3ObjectStore({
    connection: {
      endpoint: new URL(grant.endpoint),
      region: grant.region,
      accessKey: grant.access_key,
      secretKey: new Secret(grant.secret_key),
      ...(grant.session_token === undefined ? {} : { sessionToken: new Secret(grant.session_token) }),
      verify: grant.verify,
    },
    clock: systemClock,
  });
  try {
    await use(store);
  } finally {
    await store.close();
  }
}

async function grantOf(of: ServiceDefinition): Promise<StorageGrant> {
  const { endpoint } = connection();
  return createS3Grants({ connection: connection(), podEndpoint: endpoint, clock: systemClock }).grant(of);
}

describe('keys of a service', () => {
  test('open its paths, and nothing else', async () => {
    const grant = await grantOf(definition());
    expect(grant.expires_at ?? 0).toBeGreaterThan(Date.now() + 11 * 3_600_000);
    await asPod(grant, async (store) => {
      expect(await text((await store.get(bucket, 'in/a')).body)).toBe('in/a');
      expect(await store.head(bucket, 'in/deep/b')).toMatchObject({ size: 9 });
      expect(await store.head(bucket, 'in/nothing')).toBeUndefined();
      expect((await store.list(bucket, { prefix: 'in/', limit: 10 })).objects).toHaveLength(2);
      await store.put(bucket, `out/q"u'o/new`, Buffer.from('x'), {
        ifNoneMatch: '*',
        metadata: { 'sluice-hop': '1' },
      });
      await store.put(bucket, `out/q"u'o/large`, Readable.from([Buffer.alloc(20 * 1024 * 1024, 'p')]));
      expect(await text((await store.get(SYSTEM_BUCKET, event)).body)).toBe(event);
      await store.put(SYSTEM_BUCKET, `runs/${name}/big`, Buffer.from('x'));
      await store.put(SYSTEM_BUCKET, `logs/${name}/r/1`, Buffer.from('x'));
      expect((await store.list(SYSTEM_BUCKET, { prefix: `logs/${name}/`, limit: 10 })).objects).toHaveLength(
        1,
      );
    });
  });

  const refused: readonly [string, (store: S3ObjectStore) => Promise<unknown>][] = [
    ['reading beside its input', async (store) => store.get(bucket, 'in-2/a')],
    ["reading another service's input", async (store) => store.get(others, 'in/a')],
    ['writing to its input', async (store) => store.put(bucket, 'in/x', Buffer.from('x'))],
    ['writing beside its output', async (store) => store.put(bucket, 'out/x', Buffer.from('x'))],
    ['writing to another bucket', async (store) => store.put(others, 'in/x', Buffer.from('x'))],
    ['removing its output', async (store) => store.remove(bucket, `out/q"u'o/a`)],
    ['listing the whole bucket', async (store) => store.list(bucket, { prefix: '', limit: 1 })],
    ['listing beside its paths', async (store) => store.list(bucket, { prefix: 'other/', limit: 1 })],
    ['listing events', async (store) => store.list(SYSTEM_BUCKET, { prefix: 'events/', limit: 1 })],
    ['writing an event', async (store) => store.put(SYSTEM_BUCKET, event, Buffer.from('x'))],
    ['reading what else is in the system bucket', async (store) => store.get(SYSTEM_BUCKET, `private-${id}`)],
    ["reading another service's runs", async (store) => store.get(SYSTEM_BUCKET, `runs/${name}-2/r`)],
    [
      "writing another service's logs",
      async (store) => store.put(SYSTEM_BUCKET, `logs/${name}-2/r/1`, Buffer.from('x')),
    ],
    ['listing all runs', async (store) => store.list(SYSTEM_BUCKET, { prefix: 'runs/', limit: 1 })],
    ['making a bucket', async (store) => store.createBucket(`grants-new-${id}`, {})],
    ['removing a bucket', async (store) => store.deleteBucket(bucket)],
  ];

  test.each(refused)('%s is refused', async (_, work) => {
    await asPod(await grantOf(definition()), async (store) => {
      await expect(work(store)).rejects.toMatchObject({
        code: 'unavailable',
        details: { s3_code: 'AccessDenied' },
      });
    });
  });

  test('sign URLs, too', async () => {
    await asPod(await grantOf(definition({ output: [io(others)] })), async (store) => {
      const { url } = await store.presign({
        bucket: others,
        key: 'in/a',
        operation: 'download',
        expiresInSeconds: 60,
      });
      expect(await (await fetch(url)).text()).toBe('x');
    });
  });

  test('are those of before for as long as half of their time is left, and are asked for once', async () => {
    const clock = fakeClock(Date.now());
    let asked = 0;
    const assume = createAssumeRole({ connection: connection(), clock: systemClock });
    const grants = createS3Grants({
      connection: connection(),
      podEndpoint: new URL('http://pods.example:9000/'),
      durationSeconds: 3600,
      clock,
      assumeRole: async (request) => {
        asked += 1;
        return assume(request);
      },
    });
    const [first, second] = await Promise.all([grants.grant(definition()), grants.grant(definition())]);
    expect(second).toEqual(first);
    expect(first.endpoint).toBe('http://pods.example:9000');
    expect(Math.abs((first.expires_at ?? 0) - Date.now() - 3_600_000)).toBeLessThan(5000);
    expect(await grants.grant(definition({ memory: '1Gi' }))).toEqual(first);
    expect(asked).toBe(1);
    expect((await grants.grant(definition({ output: [] }))).access_key).not.toBe(first.access_key);
    expect(asked).toBe(2);
    clock.advance(1_700_000);
    expect(await grants.grant(definition())).toEqual(first);
    clock.advance(200_000);
    expect((await grants.grant(definition())).access_key).not.toBe(first.access_key);
    expect(asked).toBe(3);
  });

  test('a server that is away, and one without such keys, are told apart', async () => {
    const { endpoint } = connection();
    const away = createS3Grants({
      connection: { ...connection(), endpoint: new URL('http://127.0.0.1:1') },
      podEndpoint: endpoint,
      clock: systemClock,
    });
    await expect(away.grant(definition())).rejects.toMatchObject({ code: 'unavailable' });
    const keys = { accessKey: 'pods', secretKey: new Secret('of-all') };
    const fixed = createS3Grants({
      connection: connection(),
      podEndpoint: endpoint,
      staticKeys: keys,
      clock: systemClock,
    });
    const grant = await fixed.grant(definition());
    expect(grant).toMatchObject({ access_key: 'pods', secret_key: 'of-all' });
    expect(grant).not.toHaveProperty('expires_at');
  });
});
