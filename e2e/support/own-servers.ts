import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { freePort, openMinio, type Minio } from './minio.ts';
import { removeFolder, tempFolder } from './server.ts';
import { waitFor } from './wait.ts';

/** A server of a test's own, which it may stop, kill and start again with the same data. */
export interface OwnServer {
  readonly port: number;
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** NATS, Redis and MinIO of a test's own, each with a password. */
export interface OwnServers {
  readonly nats: OwnServer;
  readonly redis: OwnServer;
  readonly minio: Minio;
  /** Variables with which components use them. */
  readonly env: Readonly<Record<string, string>>;
  /** Subject that components read notifications from. */
  readonly notifySubject: string;
  /** A connection of the test's own. */
  openNats(): Promise<NatsConnection>;
  openRedis(): Redis;
  close(): Promise<void>;
}

export interface OwnServersOptions {
  /** Subject that MinIO publishes to. @default the one that components read */
  readonly minioSubject?: string;
}

/** Spawns the servers; pods reach MinIO at the address of this machine that the environment names. */
export async function openOwnServers(options: OwnServersOptions = {}): Promise<OwnServers> {
  const folders = await Promise.all([tempFolder(), tempFolder()]);
  const password = randomBytes(8).toString('hex');
  const notifySubject = 'test.storage.notification';
  const nats = await openServer((port) => ({
    program: 'nats-server',
    args: [
      '-js',
      '-sd',
      folders[0],
      '-a',
      '127.0.0.1',
      '-p',
      `${port}`,
      '--user',
      'test',
      '--pass',
      password,
    ],
  }));
  const redis = await openServer((port) => ({
    program: 'redis-server',
    args: `--port ${port} --bind 127.0.0.1 --dir ${folders[1]} --requirepass ${password} --appendonly yes`.split(
      ' ',
    ),
  }));
  const minio = await openMinio({
    // Pods reach it as well.
    host: '0.0.0.0',
    env: {
      MINIO_NOTIFY_NATS_ENABLE_SLUICE: 'on',
      MINIO_NOTIFY_NATS_ADDRESS_SLUICE: `127.0.0.1:${nats.port}`,
      MINIO_NOTIFY_NATS_USERNAME_SLUICE: 'test',
      MINIO_NOTIFY_NATS_PASSWORD_SLUICE: password,
      MINIO_NOTIFY_NATS_SUBJECT_SLUICE: options.minioSubject ?? notifySubject,
      // JetStream's answer is awaited, where a stream takes the subject.
      ...(options.minioSubject === undefined ? { MINIO_NOTIFY_NATS_JETSTREAM_SLUICE: 'on' } : {}),
    },
  });
  return {
    nats,
    redis,
    minio,
    notifySubject,
    env: {
      ...minio.env,
      NATS_URL: `nats://127.0.0.1:${nats.port}`,
      NATS_USER: 'test',
      NATS_PASSWORD: password,
      REDIS_URL: `redis://:${password}@127.0.0.1:${redis.port}/0`,
      SLUICE_NOTIFY_SUBJECT: notifySubject,
    },
    openNats: () => connectNats({ port: nats.port, user: 'test', pass: password, maxReconnectAttempts: -1 }),
    openRedis: () => {
      const client = new Redis({ port: redis.port, password });
      // It is stopped by tests; a command that fails says so.
      client.on('error', () => undefined);
      return client;
    },
    close: async () => {
      await Promise.all([minio.close(), nats.stop('SIGKILL'), redis.stop('SIGKILL')]);
      await Promise.all(folders.map(removeFolder));
    },
  };
}

export interface ServerCommand {
  readonly program: string;
  readonly args: readonly string[];
}

/** Starts a program that listens on a free port, and waits until it does. */
export async function openServer(
  command: (port: number) => ServerCommand | Promise<ServerCommand>,
): Promise<OwnServer> {
  const port = await freePort();
  const { program, args } = await command(port);
  const current: { process?: ChildProcess } = {};
  const start = async (): Promise<void> => {
    const child = spawn(program, args, { stdio: 'ignore' });
    current.process = child;
    child.on('error', (error) => {
      throw new Error(`this test starts servers of its own: have "${program}" on PATH`, { cause: error });
    });
    await waitFor(`${program} to listen`, async () => {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
      return (await listens(port)) ? true : undefined;
    });
  };
  await start();
  return {
    port,
    start,
    stop: async (signal = 'SIGTERM') => {
      const { process: running } = current;
      delete current.process;
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
      const ended = once(running, 'exit');
      running.kill(signal);
      await ended;
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connectTcp(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
