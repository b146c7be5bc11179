import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import {
  createContainerScripts,
  openContainerHost,
  parseEngineAddress,
  type ContainerHost,
} from '../../src/adapters/index.ts';
import { createSupervisor, type AttemptContext, type Supervisor } from '../../src/index.ts';
import { createMemoryStore } from '../integration/memory-store.ts';
import { testPlan, type Performed, type PlanOptions } from '../integration/support.ts';

const hint =
  'this test needs a Docker or Podman engine on this machine, a BuildKit daemon and a registry that both may use: set DOCKER_HOST ' +
  '(unix:///path), BUILDKIT_HOST (tcp://host:port) and REGISTRY_HOST (host:port), and have buildctl on PATH';

export function addressOf(name: 'DOCKER_HOST' | 'BUILDKIT_HOST' | 'REGISTRY_HOST'): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(hint);
  return value;
}

export interface ContainerHarness {
  readonly host: ContainerHost;
  readonly instance: string;
  readonly store: ReturnType<typeof createMemoryStore>;
  readonly supervisor: Supervisor;
  readonly dir: string;
  perform(options?: PlanOptions, context?: Partial<AttemptContext>): Promise<Performed>;
  containers(): Promise<readonly string[]>;
  /** Fails where a container or a work folder is left. */
  close(): Promise<void>;
}

/** A supervisor whose scripts run in containers. */
export async function createContainerHarness(
  dockerHost = addressOf('DOCKER_HOST'),
): Promise<ContainerHarness> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-containers-'));
  const instance = randomBytes(6).toString('hex');
  const log = silentLogger();
  const host = await openContainerHost({
    address: parseEngineAddress(dockerHost),
    instance,
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    loginsDir: dir,
    graceMs: 1000,
    clock,
    log,
  });
  const store = createMemoryStore();
  const supervisor = createSupervisor({
    objects: store,
    scripts: createContainerScripts(host),
    scriptCacheDir: join(dir, 'scripts'),
    baseEnv: {},
    hostName: 'test-host',
    instance,
    clock,
    log,
  });
  const containers = async (): Promise<readonly string[]> => host.engine.list(`sluice.instance=${instance}`);
  return {
    host,
    instance,
    store,
    supervisor,
    dir,
    containers,
    perform: async ({ definition, ...options } = {}, context = {}) => {
      const plan = testPlan({
        ...options,
        definition: { image: 'busybox', memory: '64Mi', cpu: '0.5', ...definition },
      });
      const log: Uint8Array[] = [];
      const phases: string[] = [];
      const outcome = await supervisor.perform(plan, {
        workDir: join(dir, 'work', `${plan.run_id}.${plan.attempt}`),
        output: { write: (chunk) => Promise.resolve(void log.push(chunk)) },
        report: (progress) => void phases.push(progress.phase),
        signal: new AbortController().signal,
        ...context,
      });
      return { outcome, log: Buffer.concat(log).toString(), phases };
    },
    close: async () => {
      const left = await containers();
      await host.removeLeftovers();
      await host.close();
      const work = existsSync(join(dir, 'work')) ? readdirSync(join(dir, 'work')) : [];
      rmSync(dir, { recursive: true, force: true });
      if (left.length + work.length > 0)
        throw new Error(`left: ${left.length} containers, ${work.join(' ')}`);
    },
  };
}

/** Builds an image of these lines and pushes it; the name is in a registry that every run of the test has for itself. */
export async function buildImage(name: string, dockerfile: readonly string[]): Promise<string> {
  addressOf('BUILDKIT_HOST');
  const context = await mkdtemp(join(tmpdir(), 'sluice-image-'));
  try {
    await writeFile(join(context, 'Dockerfile'), `${dockerfile.join('\n')}\n`);
    await run('buildctl', [
      'build',
      '--progress=plain',
      '--frontend=dockerfile.v0',
      `--local=context=${context}`,
      `--local=dockerfile=${context}`,
      `--output=type=image,name=${name},push=true`,
    ]);
  } finally {
    await rm(context, { recursive: true, force: true });
  }
  return name;
}

/** A name for images of one test file. */
export function imageName(name: string): string {
  return `${addressOf('REGISTRY_HOST')}/sluice-test/${name}-${randomBytes(4).toString('hex')}`;
}

/** The digest that a tag has in the registry now. */
export async function digestOf(image: string): Promise<string> {
  const [, host = '', repository = '', tag = ''] = /^([^/]+)\/(.*):([^:]+)$/.exec(image) ?? [];
  const accept = [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ].join(', ');
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
  const digest = answer.headers.get('docker-content-digest');
  if (digest === null) throw new Error(`${image} has no digest: ${answer.status}`);
  return digest;
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 170_000 });
  let output = '';
  const keepEnd = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-8192);
  };
  child.stdout.on('data', keepEnd);
  child.stderr.on('data', keepEnd);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${output}`);
}

/** An engine's address that can be cut and mended. */
export interface EngineProxy {
  readonly address: string;
  /** Whether a request for this was answered, at least its headers. */
  answered(path: string): boolean;
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

export async function createEngineProxy(): Promise<EngineProxy> {
  const socketPath = addressOf('DOCKER_HOST').replace(/^unix:\/\//, '');
  const sockets = new Set<Socket>();
  const requests = new Map<Socket, string>();
  const answered: string[] = [];
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  };
  const open = async (port: number): Promise<{ server: Server; port: number }> => {
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const engine = connect({ path: socketPath, allowHalfOpen: true });
      keep(client);
      keep(engine);
      client.on('data', (chunk: Buffer) => requests.set(client, chunk.toString('latin1')));
      engine.on('data', () => answered.push(requests.get(client) ?? ''));
      client.pipe(engine).pipe(client);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return { server, port: typeof address === 'object' && address !== null ? address.port : port };
  };
  let current = await open(0);
  return {
    address: `tcp://127.0.0.1:${current.port}`,
    answered: (path) => answered.some((request) => request.split('\r\n', 1)[0]?.includes(path)),
    cut: async () => {
      const closed = once(current.server, 'close');
      current.server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    mend: async () => {
      current = await open(current.port);
    },
  };
}
