import { jetstreamManager, type StreamInfo } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { Client } from 'minio';
import { needed } from './distributed.ts';

/* What lies on the servers of an installation, byte by byte: not by its own adapters, which show only what they know. */

export interface S3Keys {
  readonly endpoint: string;
  readonly access_key: string;
  readonly secret_key: string;
  readonly session_token?: string;
}

/** The package that anybody has who found such keys. */
export function s3Client({ endpoint, session_token, ...keys }: S3Keys): Client {
  const url = new URL(endpoint);
  return new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: url.protocol === 'https:',
    // Else the client asks for it first, which keys of a pod may not.
    region: 'us-east-1',
    accessKey: keys.access_key,
    secretKey: keys.secret_key,
    ...(session_token === undefined ? {} : { sessionToken: session_token }),
  });
}

export async function withNats<T>(work: (nats: NatsConnection) => Promise<T>): Promise<T> {
  const nats = await connect({ servers: needed('NATS_URL').split(',') });
  try {
    return await work(nats);
  } finally {
    await nats.drain();
  }
}

export async function withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(needed('REDIS_URL'));
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

/** All messages of all streams of a namespace, buckets of keys and values among them; with their subjects and headers. */
export async function natsTexts(namespace: string): Promise<string> {
  return withNats(async (nats) => {
    const manager = await jetstreamManager(nats);
    const texts: string[] = [];
    const read = async ({ config, state }: StreamInfo): Promise<void> => {
      for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
        const message = await manager.streams.getMessage(config.name, { seq }).catch(() => null);
        if (message === null) continue;
        const headers = [...message.header].map(([key, values]) => `${key}: ${values.join()}`);
        texts.push(message.subject, ...headers, Buffer.from(message.data).toString('latin1'));
      }
    };
    for await (const stream of manager.streams.list()) {
      if (stream.config.name.toLowerCase().includes(namespace)) await read(stream);
    }
    return texts.join('\n');
  });
}

/** All keys of a namespace with their values. */
export async function redisTexts(namespace: string): Promise<string> {
  return withRedis(async (redis) => {
    const texts: string[] = [];
    for (const key of await redisKeys(redis, namespace)) {
      texts.push(key, JSON.stringify(await valueOf(redis, key)));
    }
    return texts.join('\n');
  });
}

export async function redisKeys(redis: Redis, namespace: string): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const keys of redis.scanStream({ match: `*${namespace}*`, count: 1000 })) {
    found.push(...(keys as string[]));
  }
  return found;
}

async function valueOf(redis: Redis, key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'string':
      return redis.get(key);
    case 'hash':
      return redis.hgetall(key);
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'set':
      return redis.smembers(key);
    case 'zset':
      return redis.zrange(key, '0', '-1');
    case 'stream':
      return redis.xrange(key, '-', '+');
    default:
      return undefined;
  }
}
