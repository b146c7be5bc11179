import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../../src/testing/index.ts';
import { eventually } from '../../src/testing/eventually.ts';

/** A server of a test's own, which may stop and kill it. */
export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** As a crash: nothing is flushed. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Takes what it is sent and answers nothing, until `goOn`. */
  standStill(): void;
  goOn(): void;
  close(): Promise<void>;
}

/**
 * Starts `redis-server` on a free port.
 * @param settings as on its command line: `['--maxmemory', '10mb']`; a function has to set the port as well
 */
export async function startRedis(
  settings: readonly string[] | ((port: number) => readonly string[]) = [],
  client: { readonly url?: (port: number) => string; readonly ca?: string } = {},
): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-redis-'));
  const port = await freePort();
  const url = client.url?.(port) ?? `redis://127.0.0.1:${port}`;
  let server: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  };
  const start = async (): Promise<void> => {
    const own = typeof settings === 'function' ? settings(port) : ['--port', String(port), ...settings];
    const args = ['--bind', '127.0.0.1', '--dir', folder, '--save', '', ...own];
    server = spawn('redis-server', args, { stdio: 'ignore' });
    server.once('error', () => undefined);
    await eventually('redis-server answers (it has to be in PATH)', async () => isUp(url, client.ca), 10_000);
  };
  await start();
  return {
    url,
    port,
    kill,
    start,
    standStill: () => server?.kill('SIGSTOP'),
    goOn: () => server?.kill('SIGCONT'),
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function isUp(url: string, ca: string | undefined): Promise<boolean> {
  const client = new Redis(url, {
    lazyConnect: true,
    retryStrategy: null,
    ...(ca === undefined ? {} : { tls: { ca } }),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}
