import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/testing/index.ts';

/** A NATS server of a test's own, which may be killed and started again with what it had on its disk. */
export interface OwnNats {
  readonly url: string;
  readonly port: number;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Takes away its disk, while it does not run. */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

export async function startOwnNats(): Promise<OwnNats> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-nats-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', String(port)];
    const server = spawn('nats-server', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child = server;
    let said = '';
    for await (const chunk of server.stderr) {
      said += String(chunk);
      if (said.includes('Server is ready')) break;
    }
    if (!said.includes('Server is ready')) throw new Error(`nats-server (is it in PATH?) ended: ${said}`);
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
    port,
    start,
    kill,
    wipe: async () => rm(folder, { recursive: true, force: true }),
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Stands between a client and a server, for faults that a server can't be made to show. */
export interface Wire {
  readonly url: string;
  /** Ends all connections and takes no new one. */
  cut(): void;
  /** What the server says is lost, while connections stay. */
  deafen(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function startWire(port: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let state: 'whole' | 'deaf' | 'cut' = 'whole';
  const server: Server = createServer((client) => {
    if (state === 'cut') return client.destroy();
    const upstream = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => {
      if (state === 'whole') client.write(data);
    });
    return undefined;
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      state = 'cut';
      end();
    },
    deafen: () => {
      state = 'deaf';
    },
    mend: () => {
      state = 'whole';
    },
    close: async () => {
      end();
      server.close();
      await once(server, 'close');
    },
  };
}
