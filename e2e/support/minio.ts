import { randomInt } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Client } from 'minio';
import { removeFolder, tempFolder } from './server.ts';
import { waitFor } from './wait.ts';

const hint = 'this test starts S3 servers of its own: have the program "minio" on PATH';
const keys = { accessKey: 'sluice-test', secretKey: 'sluice-test-secret' } as const;

/** A MinIO of this test's own, which it may restart and break. */
export interface Minio {
  readonly url: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** The package that users have: nothing of it is Sluice's. */
  readonly client: Client;
  /** Variables that make it the object store of a server. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts it again at the same address, with the same data. */
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

export interface MinioOptions {
  /** Folder with `public.crt` and `private.key`: it then serves HTTPS only. */
  readonly certs?: string;
  /** `0.0.0.0` where pods must reach it. @default 127.0.0.1 */
  readonly host?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export async function openMinio(options: MinioOptions = {}): Promise<Minio> {
  const [data, port, console] = await Promise.all([tempFolder(), freePort(), freePort()]);
  const url = `${options.certs === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const current: { process?: ChildProcess } = {};
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    const { process: running } = current;
    delete current.process;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'exit');
    running.kill(signal);
    await ended;
  };
  const start = async (): Promise<void> => {
    await stop();
    const certs = options.certs === undefined ? [] : ['--certs-dir', options.certs];
    const args = [
      'server',
      '--quiet',
      '--address',
      `${options.host ?? '127.0.0.1'}:${port}`,
      '--console-address',
    ];
    current.process = spawn('minio', [...args, `127.0.0.1:${console}`, ...certs, data], {
      env: {
        ...process.env,
        MINIO_ROOT_USER: keys.accessKey,
        MINIO_ROOT_PASSWORD: keys.secretKey,
        MINIO_BROWSER: 'off',
        ...options.env,
      },
      stdio: 'ignore',
    });
    current.process.on('error', (error) => {
      throw new Error(hint, { cause: error });
    });
    await waitFor('MinIO to answer', async () => ((await isUp(client)) ? true : undefined), 30_000);
  };
  const client = new Client({
    endPoint: '127.0.0.1',
    port,
    useSSL: options.certs !== undefined,
    region: 'us-east-1',
    ...keys,
  });
  if (options.certs !== undefined) client.setRequestOptions({ rejectUnauthorized: false });
  await start();
  return {
    url,
    ...keys,
    client,
    env: { MINIO_ENDPOINT: url, MINIO_ACCESS_KEY: keys.accessKey, MINIO_SECRET_KEY: keys.secretKey },
    start,
    stop,
    close: async () => {
      await stop('SIGKILL');
      await removeFolder(data);
    },
  };
}

async function isUp(client: Client): Promise<boolean> {
  try {
    await client.listBuckets();
    return true;
  } catch {
    return false;
  }
}

/**
 * A port that nobody listens on. Not one of those that the kernel gives to outgoing connections: until its server is started, perhaps seconds later, one of these would take it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const server = createServer();
    const free = once(server.listen(port, '0.0.0.0'), 'listening').then(
      () => true,
      () => false,
    );
    if (!(await free)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** Every key below a prefix, in order. */
export async function keysOf(client: Client, bucket: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  // The older listing: the package makes numbers of such keys in the newer one.
  for await (const item of client.listObjects(bucket, prefix, true) as AsyncIterable<{ name?: string }>) {
    if (item.name !== undefined) found.push(item.name);
  }
  return found;
}

/**
 * How often each key below a prefix was written, where the bucket keeps versions. At most 1,000: the package signs the request for the next page wrongly where a
 * key has a slash.
 */
export async function versionsOf(
  client: Client,
  bucket: string,
  prefix: string,
): Promise<Map<string, number>> {
  const versions = new Map<string, number>();
  const listing = client.listObjects(bucket, prefix, true, { IncludeVersion: true });
  for await (const item of listing as AsyncIterable<{ name?: string }>) {
    // The marker of the folder is the api's.
    if (item.name !== undefined && item.name !== prefix)
      versions.set(item.name, (versions.get(item.name) ?? 0) + 1);
  }
  return versions;
}

/** The text of an object, once it is there. */
export async function textOf(
  client: Client,
  bucket: string,
  key: string,
  timeoutMs = 60_000,
): Promise<string> {
  return waitFor(
    `the object ${bucket}/${key}`,
    async () => {
      const body: Readable | undefined = await client.getObject(bucket, key).catch(() => undefined);
      return body === undefined ? undefined : (await buffer(body)).toString();
    },
    timeoutMs,
  );
}
