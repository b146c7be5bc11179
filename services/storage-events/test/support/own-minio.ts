import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@sluice/shared/config';
import { eventually, freePort } from '@sluice/shared/testing';
import { Client } from 'minio';

const hint = 'this test starts S3 servers of its own: have the program "minio" on PATH';
const accessKey = 'sluice-test';
const secretKey = `secret-${randomBytes(8).toString('hex')}`;

/** A MinIO of this test's own with a webhook target; it may be stopped and started. */
export interface OwnMinio {
  readonly connection: {
    readonly endpoint: URL;
    readonly region: string;
    readonly accessKey: string;
    readonly secretKey: Secret;
    readonly verify: boolean;
  };
  readonly client: Client;
  start(): Promise<void>;
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** Name of the target that rules send to. */
export const webhookArn = 'arn:minio:sqs::SLUICE:webhook';

/** @param webhook where its target sends to, with which token */
export async function openOwnMinio(webhook: {
  readonly url: string;
  readonly token: string;
}): Promise<OwnMinio> {
  const data = await mkdtemp(join(tmpdir(), 'sluice-minio-'));
  const port = await freePort();
  const client = new Client({
    endPoint: '127.0.0.1',
    port,
    useSSL: false,
    region: 'us-east-1',
    accessKey,
    secretKey,
  });
  const current: { process?: ChildProcess } = {};
  const kill = async (): Promise<void> => {
    const { process: running } = current;
    delete current.process;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'exit');
    running.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    const server = spawn('minio', ['server', '--quiet', '--address', `127.0.0.1:${port}`, data], {
      env: {
        ...process.env,
        MINIO_ROOT_USER: accessKey,
        MINIO_ROOT_PASSWORD: secretKey,
        MINIO_BROWSER: 'off',
        MINIO_NOTIFY_WEBHOOK_ENABLE_SLUICE: 'on',
        MINIO_NOTIFY_WEBHOOK_ENDPOINT_SLUICE: webhook.url,
        MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_SLUICE: webhook.token,
      },
      stdio: 'ignore',
    });
    server.on('error', (error) => {
      throw new Error(hint, { cause: error });
    });
    current.process = server;
    const isUp = async (): Promise<boolean> =>
      client.listBuckets().then(
        () => true,
        () => false,
      );
    await eventually('MinIO answers', isUp, 30_000);
  };
  await start();
  return {
    connection: {
      endpoint: new URL(`http://127.0.0.1:${port}`),
      region: 'us-east-1',
      accessKey,
      secretKey: new Secret(secretKey),
      verify: true,
    },
    client,
    start,
    kill,
    close: async () => {
      await kill();
      await rm(data, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
