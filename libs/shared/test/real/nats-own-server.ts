import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/testing/index.ts';
import { eventually } from '../../src/testing/index.ts';

/** A NATS server of a test's own, with arguments of its own. */
export interface OwnServer {
  readonly url: string;
  start(): Promise<void>;
  /** As a crash ends it; its disk stays. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

export async function startServer(extra: readonly string[] = []): Promise<OwnServer> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-nats-'));
  const port = await freePort();
  const logFile = join(folder, 'log');
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    // Into a file: a Go program ends when it writes to a pipe that nobody reads any more.
    const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', String(port), '-l', logFile, ...extra];
    const started = spawn('nats-server', args, { stdio: 'ignore' });
    child = started;
    const failed = once(started, 'error').then(([error]) => {
      throw new Error('nats-server cannot be started: is it in PATH?', { cause: error });
    });
    const ready = eventually('nats-server answers', async () => {
      if (started.exitCode !== null) throw new Error(await readFile(logFile, 'utf8'));
      return answers(port);
    });
    await Promise.race([failed, ready]);
  };
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    start,
    kill,
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'data');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
