import { jetstreamManager } from '@nats-io/jetstream';
import { Client } from 'minio';
import { afterEach, expect, it } from 'vitest';
import {
  bucketRulesLook,
  createRedisRunLedger,
  createS3BucketRules,
  natsLooks,
  openRedis,
  openS3Looks,
  redisLooks,
} from '../../src/adapters/index.ts';
import { createLooks, type Look } from '../../src/checks/index.ts';
import { Secret } from '../../src/config/index.ts';
import type { ComponentCheck } from '../../src/contracts/index.ts';
import { systemClock, type Clock } from '../../src/lifecycle/index.ts';
import { SYSTEM_BUCKET } from '../../src/stores/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import { startProgram } from './looks-server.ts';
import { busOn, openTestNats, randomNamespace } from './nats-fixture.ts';
import { startRedis } from './redis-server.ts';

const opened: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

/** What is not as it should be. */
async function bad(looks: readonly Look[], clock: Clock = systemClock): Promise<readonly ComponentCheck[]> {
  return (await createLooks(looks, { clock })()).filter(({ ok }) => !ok);
}

function titles(checks: readonly ComponentCheck[]): readonly string[] {
  return checks.map(({ severity, name }) => `${severity} ${name}`);
}

async function nats(
  args: readonly string[],
): Promise<{ nats: Awaited<ReturnType<typeof openTestNats>>; kill(): Promise<void> }> {
  const server = await startProgram(
    'nats-server',
    ({ port, folder }) => ['-a', '127.0.0.1', '-p', String(port), '-sd', folder, ...args],
    {
      isUp: async (port) => {
        const connection = await openTestNats(`nats://127.0.0.1:${port}`, 100).catch(() => undefined);
        await connection?.close();
        return connection !== undefined;
      },
    },
  );
  opened.push(() => server.close());
  const connection = await openTestNats(`nats://127.0.0.1:${server.port}`);
  opened.push(() => connection.close());
  return { nats: connection, kill: () => server.close() };
}

it('NATS without JetStream, and NATS that is gone', async () => {
  const server = await nats([]);
  const looks = natsLooks({ nats: server.nats, namespace: 'x', replicas: 1, clock: systemClock });
  const found = await bad(looks);
  expect(titles(found)).toEqual(['error NATS']);
  expect(found[0]?.mend).toContain('-js');
  const lost = Promise.withResolvers<void>();
  server.nats.onChange({ lost: lost.resolve });
  await server.kill();
  await lost.promise;
  expect(titles(await bad(looks))).toEqual(['error NATS']);
});

it('streams of NATS that are missing, or were changed by hand', async () => {
  const server = await nats(['-js']);
  const namespace = randomNamespace();
  // Its bus was made with limits of its own.
  const limits = { streamBytes: 32 * 1024 * 1024 };
  const bus = await busOn(server.nats, { namespace });
  opened.push(() => bus.close());
  const looks = (replicas = 1): readonly Look[] =>
    natsLooks({ nats: server.nats, namespace, replicas, limits, clock: systemClock });
  expect(await bad(looks())).toEqual([]);
  expect(titles(await bad(looks(3)))[0]).toBe('warning NATS replicas');

  const jsm = await jetstreamManager(server.nats.connection);
  const prefix = namespace.toUpperCase();
  await jsm.streams.update(`${prefix}_EVT`, { max_msgs: 7 });
  await jsm.streams.delete(`${prefix}_DLQ`);
  const found = await bad(looks());
  expect(titles(found).toSorted()).toEqual(['error NATS streams', 'warning NATS streams']);
  expect(found.map(({ message }) => message).join('\n')).toContain('max_msgs');
});

async function redisFindings(args: readonly string[], prepare?: (url: string) => Promise<void>) {
  const server = await startRedis(args);
  opened.push(() => server.close());
  await prepare?.(server.url);
  const common = { clock: systemClock, log: silentLogger() };
  const redis = await openRedis({ url: new Secret(server.url), namespace: 'x', name: 'test', ...common });
  opened.push(() => redis.close());
  const ledger = createRedisRunLedger({
    redis,
    ...common,
    eventsFor: () => [],
    startMessage: ({ id }) => ({ id, name: 'runs.start', payload: {} }),
  });
  await ledger.markIntact();
  return { looks: redisLooks({ redis, ledger }), redis, server };
}

it('Redis as it should be, then gone', async () => {
  const { looks, server } = await redisFindings(['--appendonly', 'yes']);
  expect(await bad(looks)).toEqual([]);
  await server.kill();
  expect(titles(await bad(looks))).toEqual(['error Redis', 'error run ledger']);
});

it('Redis that throws keys away and forgets everything at a restart', async () => {
  const { looks } = await redisFindings(['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru']);
  const found = await bad(looks);
  expect(titles(found)).toEqual(['warning Redis persistence', 'error Redis eviction']);
  expect(found[1]?.mend).toContain('noeviction');
});

it('Redis whose memory was lost', async () => {
  const { looks, server } = await redisFindings([]);
  await server.kill();
  await server.start();
  await expect
    .poll(async () => titles(await bad(looks)), { timeout: 10_000 })
    .toEqual(['warning Redis persistence', 'error run ledger']);
});

async function minio(): Promise<{ endpoint: URL; client: Client }> {
  const keys = { accessKey: 'sluice-test', secretKey: 'sluice-test-secret' };
  const clientOn = (port: number): Client =>
    new Client({ endPoint: '127.0.0.1', port, useSSL: false, region: 'us-east-1', ...keys });
  const server = await startProgram(
    'minio',
    ({ port, folder }) => ['server', '--quiet', '--address', `127.0.0.1:${port}`, folder],
    {
      env: {
        MINIO_ROOT_USER: keys.accessKey,
        MINIO_ROOT_PASSWORD: keys.secretKey,
        MINIO_BROWSER: 'off',
      },
      isUp: async (port) => {
        const buckets = await clientOn(port)
          .listBuckets()
          .catch(() => undefined);
        return buckets !== undefined;
      },
    },
  );
  opened.push(() => server.close());
  return { endpoint: new URL(`http://127.0.0.1:${server.port}`), client: clientOn(server.port) };
}

async function s3Findings(
  endpoint: URL,
  change: { accessKey?: string; secretKey?: string } = {},
  clock: Clock = systemClock,
): Promise<readonly ComponentCheck[]> {
  const { looks, close } = await openS3Looks({
    connection: {
      endpoint,
      region: 'us-east-1',
      accessKey: change.accessKey ?? 'sluice-test',
      secretKey: new Secret(change.secretKey ?? 'sluice-test-secret'),
      verify: true,
    },
    clock,
  });
  opened.push(close);
  return bad(looks);
}

it('S3 with wrong keys, no system bucket, another time; input buckets without their rules', async () => {
  const { endpoint, client } = await minio();
  const [missing] = await s3Findings(endpoint);
  expect(missing).toMatchObject({ name: 'S3', severity: 'error' });
  expect(missing?.message).toContain(SYSTEM_BUCKET);
  await client.makeBucket(SYSTEM_BUCKET);
  expect(await s3Findings(endpoint)).toEqual([]);

  expect(await s3Findings(endpoint, { accessKey: 'nobody' })).toMatchObject([
    { name: 'S3', severity: 'error', mend: expect.stringContaining('MINIO_ACCESS_KEY') as string },
  ]);
  const [wrongSecret] = await s3Findings(endpoint, { secretKey: 'wrong-secret' });
  expect(wrongSecret).toMatchObject({ mend: expect.stringContaining('MINIO_SECRET_KEY') as string });
  expect(JSON.stringify(wrongSecret)).not.toContain('wrong-secret');

  const later = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms });
  expect(titles(await s3Findings(endpoint, {}, later(20_000)))).toEqual(['warning S3 clock']);
  expect(titles(await s3Findings(endpoint, {}, later(-400_000)))).toEqual(['error S3 clock']);

  await client.makeBucket('photos');
  const arn = 'arn:minio:sqs::SLUICE:nats';
  const secretKey = new Secret('sluice-test-secret');
  const connection = { endpoint, region: 'us-east-1', accessKey: 'sluice-test', secretKey, verify: true };
  const rules = await createS3BucketRules({ connection, arn, namespace: 'x' });
  opened.push(() => rules.close());
  const paths = async () => [
    { bucket: 'photos', prefix: 'in/' },
    { bucket: 'not-there', prefix: 'in/' },
  ];
  const found = await bad([bucketRulesLook({ rules, paths, arn, clock: systemClock })]);
  expect(found).toMatchObject([
    { name: 'S3 notifications', severity: 'warning', mend: expect.stringContaining(arn) as string },
  ]);
  expect(found[0]?.message).toContain('1 of 2 input buckets');
});

it('S3 that is not there', async () => {
  const found = await s3Findings(new URL('http://127.0.0.1:1'));
  expect(titles(found)).toEqual(['error S3', 'error S3 clock']);
});
