import { randomUUID } from 'node:crypto';
import { openRedis, type RedisConnectionOptions } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import type { BuildTicket } from '@sluice/shared/contracts';
import { type Clock, systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { Redis } from 'ioredis';
import { createRedisBuildStore } from '../../src/adapters/index.ts';
import type { BuildLimits, BuildSpec, BuildStore, Joined, StoredBuild } from '../../src/index.ts';

/** Where the Redis of the tests is. */
export function redisUrl(): string {
  const { REDIS_URL } = process.env;
  if (!REDIS_URL) throw new Error('this test needs a Redis server: set REDIS_URL');
  return REDIS_URL;
}

export function randomNamespace(): string {
  return `test-${randomUUID()}`;
}

export function connection(namespace: string, url = redisUrl()): RedisConnectionOptions {
  return {
    url: new Secret(url),
    namespace,
    name: 'test-builder',
    clock: systemClock,
    log: silentLogger(),
  };
}

/** A client of the test's own, beside the adapters. It tries once. */
export async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.disconnect();
  }
}

export async function keysOf(namespace: string, url = redisUrl()): Promise<readonly string[]> {
  return withClient(url, async (client) => {
    const keys: string[] = [];
    for await (const found of client.scanStream({ match: `{${namespace}}:*`, count: 1000 }))
      keys.push(...(found as unknown[]).map(String));
    return keys.toSorted();
  });
}

/** Removes what a test left. */
export async function removeNamespace(namespace: string, url = redisUrl()): Promise<void> {
  const keys = await keysOf(namespace, url);
  if (keys.length === 0) return;
  await withClient(url, async (client) => client.unlink(...keys));
}

export interface StoreWorld {
  readonly store: BuildStore;
  readonly namespace: string;
  close(): Promise<void>;
}

export async function openStore(
  clock: Clock,
  namespace = randomNamespace(),
  url = redisUrl(),
): Promise<StoreWorld> {
  const redis = await openRedis(connection(namespace, url));
  return {
    store: createRedisBuildStore({ redis, clock }),
    namespace,
    close: async () => {
      await redis.close();
      await removeNamespace(namespace, url);
    },
  };
}

export const roomy: BuildLimits = { userOpen: 100, totalOpen: 1000, userRunning: 100 };

export function ticketOf(change: Partial<BuildTicket> = {}): BuildTicket {
  const { user = 'anna', build = randomUUID() } = change;
  return {
    id: randomUUID(),
    user,
    build,
    kind: 'python',
    source: 'python:3.11-slim',
    target: `${user}:tools`,
    image: `pull.example/${user}:tools`,
    pushed: `push.example/${user}:tools`,
    state: 'queued',
    reused: false,
    created_at: 1000,
    ...change,
  };
}

export function buildOf(
  change: { readonly id?: string; readonly key?: string } & Partial<BuildSpec> = {},
): Pick<StoredBuild, 'id' | 'key' | 'spec'> {
  const { id = randomUUID(), key = randomUUID(), ...spec } = change;
  const { user = 'anna' } = spec;
  return {
    id,
    key,
    spec: {
      user,
      kind: 'python',
      source: 'docker.io/library/python',
      baseDigest: `sha256:${'a'.repeat(64)}`,
      baseUser: '',
      file: 'requests==2.32.0\n',
      platforms: [],
      toolImage: '',
      sbom: false,
      provenance: false,
      repository: `push.example/${user}`,
      contentTag: 'python-0123456789abcdef0123',
      force: false,
      ...spec,
    },
  };
}

/** Joins a new ticket to a build of that content. */
export async function joinOne(
  store: BuildStore,
  build: Pick<StoredBuild, 'id' | 'key' | 'spec'>,
  change: Partial<BuildTicket> = {},
  limits = roomy,
): Promise<Joined> {
  return store.join(ticketOf({ user: build.spec.user, build: build.id, ...change }), build, limits);
}

/** As `joinOne`, where it has to be a new build. */
export async function createOne(
  store: BuildStore,
  build = buildOf(),
  change: Partial<BuildTicket> = {},
): Promise<{ readonly build: StoredBuild; readonly ticket: BuildTicket }> {
  const joined = await joinOne(store, build, change);
  if (joined.kind !== 'created') throw new Error(`the build was ${joined.kind}`);
  return joined;
}
