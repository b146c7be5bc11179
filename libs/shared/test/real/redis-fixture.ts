import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import {
  createRedisRunLedger,
  openRedis,
  type RedisConnection,
  type RedisRunLedgerOptions,
} from '../../src/adapters/index.ts';
import { Secret } from '../../src/config/index.ts';
import { runChangedMessage, runStartMessage } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import type { LedgerRecovery, RunLedger } from '../../src/stores/index.ts';

export const log = silentLogger();

/** Where the Redis of the tests is. */
export function redisUrl(): string {
  const { REDIS_URL } = process.env;
  if (!REDIS_URL) throw new Error('this test needs a Redis server: set REDIS_URL');
  return REDIS_URL;
}

export function randomNamespace(): string {
  return `test-${randomUUID()}`;
}

export async function connect(
  namespace: string,
  change: { url?: string; ca?: string; timeoutMs?: number } = {},
): Promise<RedisConnection> {
  const { url = redisUrl(), ...rest } = change;
  return openRedis({ url: new Secret(url), namespace, name: 'test', clock: systemClock, log, ...rest });
}

export type RedisLedger = RunLedger & LedgerRecovery;

export function ledgerOf(
  redis: RedisConnection,
  change: Partial<Omit<RedisRunLedgerOptions, 'redis'>> = {},
): RedisLedger {
  const { clock = systemClock, ...rest } = change;
  return createRedisRunLedger({
    redis,
    clock,
    log,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
    startMessage: (run) => runStartMessage(run),
    ...rest,
  });
}

/** Removes what a test left. */
export async function removeNamespace(namespace: string, url = redisUrl()): Promise<void> {
  await withClient(url, async (client) => {
    for await (const keys of client.scanStream({ match: `{${namespace}}:*`, count: 1000 })) {
      const names = (keys as unknown[]).map(String);
      if (names.length > 0) await client.unlink(...names);
    }
  });
}

/** A client of the test's own, beside the adapter. */
export async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

export interface RedisHarness {
  readonly ledger: RedisLedger;
  readonly namespace: string;
  restart(): Promise<RedisLedger>;
  close(): Promise<void>;
}

/** A ledger of its own, ready for work. A restart cuts the connection under it and opens another one. */
export async function harness(
  change: Partial<Omit<RedisRunLedgerOptions, 'redis'>> = {},
): Promise<RedisHarness> {
  const namespace = randomNamespace();
  let redis = await connect(namespace);
  const ledger = ledgerOf(redis, change);
  await ledger.markIntact();
  return {
    ledger,
    namespace,
    restart: async () => {
      await redis.close();
      redis = await connect(namespace);
      return ledgerOf(redis, change);
    },
    close: async () => {
      await redis.close();
      await removeNamespace(namespace);
    },
  };
}
