import { createHash } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import type { Redis, RedisOptions } from 'ioredis';
import type { Secret } from '../config/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { bareError, fromRedisError, isNoScript, isReadOnly } from './redis-errors.ts';

export interface RedisConnectionOptions {
  /** `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS. */
  readonly url: Secret;
  /** Certificates (PEM) that are trusted beside the system's, for `rediss://`. */
  readonly ca?: string | undefined;
  /** Prefix of all keys, as a hash tag: a cluster keeps them in one slot. */
  readonly namespace: string;
  /** What Redis lists the connection as: the component. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that one command, or the way to the server, may take. @default 5000 */
  readonly timeoutMs?: number;
}

/** A Lua script: it gets the prefix of the namespace as `KEYS[1]`, and every key that it touches begins with it. */
export interface RedisScript {
  readonly lua: string;
  readonly sha: string;
}

/**
 * A connection that is made again for ever. While it is away every command rejects at once with `unavailable`; nothing waits for it and nothing is sent
 * again, since a command whose answer was lost may have been done.
 */
export interface RedisConnection {
  /** Host and port, for messages. */
  readonly address: string;
  /** Runs a script as one atomic step. @throws AppError `unavailable`, `storage_full` */
  run(script: RedisScript, args: readonly (string | number)[]): Promise<unknown>;
  /** Rejects with what is wrong, for a person. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** Names the parts of a script's key space: `{namespace}:`. */
export function redisScript(lua: string): RedisScript {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/**
 * Opens a connection. Resolves before it is there, and however long it takes: the first commands wait for the first try, `check` says how it went.
 * @throws AppError `invalid_input` for an address that is none
 */
export async function openRedis(options: RedisConnectionOptions): Promise<RedisConnection> {
  const { client, address, call, close } = await openRedisClient(options);
  client.on('ready', () => void warnOfEviction(client, options.log));
  const prefix = `{${options.namespace}}:`;
  return {
    address,
    run: async (script, args) =>
      call(async () => {
        try {
          return await client.evalsha(script.sha, 1, prefix, ...args);
        } catch (error) {
          if (!isNoScript(error)) throw error;
          return client.eval(script.lua, 1, prefix, ...args);
        }
      }),
    check: async () => {
      await call(async () => client.ping());
    },
    close,
  };
}

/** A client for a library that wants one. */
export interface RedisClient {
  readonly client: Redis;
  readonly address: string;
  /** Does something that uses the client, after the first try to connect. @throws AppError `unavailable`, `storage_full` */
  call<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Opens a client with the settings of `openRedis`.
 * @param patience `waiting` for a library that waits in its commands: they stay until they are answered, and are sent again after the connection was away
 * @throws AppError `invalid_input` for an address that is none
 */
export async function openRedisClient(
  options: RedisConnectionOptions,
  patience: 'failing' | 'waiting' = 'failing',
): Promise<RedisClient> {
  const { commandTimeout, ...settings } = settingsOf(options);
  // Loaded only where it is used.
  const { Redis } = await import('ioredis');
  const client = new Redis({ ...settings, ...(patience === 'failing' ? { commandTimeout } : waiting) });
  const address = `${settings.host}:${settings.port}`;
  const { cut, tried } = watch(client, address, options);
  return {
    client,
    address,
    call: async (work) => {
      if (client.status !== 'ready') await tried;
      try {
        return await work();
      } catch (error) {
        throw fromRedisError(error, address, cut());
      }
    },
    close: async () => {
      client.disconnect();
    },
  };
}

/** What is different where commands wait. A server that stands still is noticed later than the longest of them takes (10 s). */
const waiting = {
  enableOfflineQueue: true,
  autoResendUnfulfilledCommands: true,
  maxRetriesPerRequest: null,
  socketTimeout: 30_000,
} satisfies RedisOptions;

/** Milliseconds between two tries to connect, at most. */
const longestPause = 2000;

/** Not typed as `RedisOptions`: the client wants to know from the type that the shapes of replies are the usual ones. */
function settingsOf(options: RedisConnectionOptions) {
  const { protocol, hostname, port, username, password, pathname } = addressOf(options);
  const { ca, name, timeoutMs = 5000 } = options;
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port) || 6379,
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    db: Number(pathname.slice(1)),
    ...(protocol === 'rediss:'
      ? { tls: ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] } }
      : {}),
    connectionName: name,
    // What the scripts answer is the same in both, and every server knows this one.
    protocol: 2 as const,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A connection on which nothing comes back is given up, or it would fail each command one by one until TCP notices.
    socketTimeout: 2 * timeoutMs,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), longestPause),
    // Commands fail at once while the connection is away …
    enableOfflineQueue: false,
    // … those under way as soon as it breaks, and none is sent a second time: it may have been done.
    // Without the 0 the client would drop them and never settle their promises.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    reconnectOnError: isReadOnly,
  } satisfies RedisOptions;
}

function addressOf({ url, ca }: RedisConnectionOptions): URL {
  const invalid = (problem: string): AppError =>
    new AppError(
      'invalid_input',
      `REDIS_URL ${problem}: write redis://[user:password@]host[:port][/database], or rediss:// for TLS.`,
      { field: 'REDIS_URL' },
    );
  const address = URL.parse(url.reveal());
  if (address === null) throw invalid('is not an address');
  if (address.protocol !== 'redis:' && address.protocol !== 'rediss:')
    throw invalid('has an unknown protocol');
  if (address.hostname === '') throw invalid('has no host');
  if (!/^(\/\d{0,4})?$/.test(address.pathname)) throw invalid('has a database that is not a number');
  if (ca !== undefined && address.protocol === 'redis:') throw invalid('has no TLS, but there is a REDIS_CA');
  return address;
}

interface Watch {
  /** What cut the connection, where it is down. */
  cut(): Error | undefined;
  /** The first try to connect is over, well or not. */
  readonly tried: Promise<void>;
}

function watch(
  client: Redis,
  address: string,
  { log, clock, timeoutMs = 5000 }: RedisConnectionOptions,
): Watch {
  let cut: Error | undefined;
  let wasReady = false;
  const { promise: tried, resolve } = Promise.withResolvers<void>();
  void clock.sleep(timeoutMs).then(resolve, resolve);
  client.on('ready', () => {
    if (wasReady || cut !== undefined) log.info({ address }, 'connected to Redis');
    wasReady = true;
    cut = undefined;
    resolve();
  });
  client.on('error', (error: Error) => {
    const first = cut === undefined;
    // The client's error may carry the password.
    cut = bareError(error);
    if (first) {
      const shown = fromRedisError(error, address, undefined);
      log.warn({ err: shown, address }, 'connection to Redis failed, trying again');
    }
    resolve();
  });
  client.on('close', resolve);
  return { cut: () => cut, tried };
}

/** What is evicted is lost silently: the memory of a ledger is not a cache. */
async function warnOfEviction(client: Redis, log: Logger): Promise<void> {
  const memory = await client.info('memory').catch(() => '');
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
  if (policy === undefined || policy === 'noeviction') return;
  log.warn(
    { policy },
    'Redis may throw away keys when its memory is full: set maxmemory-policy to noeviction',
  );
}
