import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { openBalancer, type Balancer } from './balancer.ts';
import { supervisorImage } from './images.ts';
import { freePort } from './minio.ts';
import {
  cleanEnv,
  cliBin,
  collect,
  noBuilder,
  root,
  run,
  type Finished,
  type Installation,
} from './server.ts';
import { waitFor } from './wait.ts';

const componentBin = join(root, 'apps/distributed/bin/sluice-component.mjs');

export type ComponentName = 'api' | 'scheduler' | 'storage-events';

/** One component as a process. */
export interface ComponentProcess {
  readonly name: ComponentName;
  readonly index: number;
  readonly healthPort: number;
  process(): ChildProcess;
  stderr(): string;
  /** Sends a signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** Starts it again, after `stop`, and waits until it is ready. */
  start(): Promise<void>;
  /** Starts it again and waits for nothing. */
  launch(): void;
  ready(): Promise<void>;
}

/** The distributed form on the servers of the environment: every component as processes of their own, Jobs on the cluster. */
export interface Distributed extends Installation {
  readonly namespace: string;
  /** Namespace of Jobs and runners. */
  readonly jobs: string;
  /** Addresses of the api's processes, past the balancer. */
  readonly apis: readonly string[];
  readonly components: readonly ComponentProcess[];
  /** Where pods report to, as this machine reaches it. */
  readonly desk: string;
  /** What the installation is given in secret, by its variables. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Stops the processes and removes what they left on the servers. */
  close(): Promise<void>;
}

export interface DistributedOptions {
  /** @default a random one */
  readonly namespace?: string;
  /** Processes of each component. @default 2 */
  readonly replicas?: number;
  /** For all components. */
  readonly env?: Readonly<Record<string, string>>;
  /** In place of the environment's servers: servers of the test's own, on which nothing is tidied up. */
  readonly servers?: Readonly<Record<string, string>>;
  /** In place of the environment's S3 server alone. */
  readonly objects?: Readonly<Record<string, string>>;
}

/** The variable, or a failure that says how to get it: a test that cannot run is no test that passed. */
export function needed(name: string): string {
  const value = process.env[name] ?? '';
  if (value === '') throw new Error(`${name} is not set: this test needs the servers of a test bed`);
  return value;
}

function serversOfEnvironment(): Readonly<Record<string, string>> {
  const names = ['NATS_URL', 'REDIS_URL', 'MINIO_ENDPOINT', 'MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY'];
  return Object.fromEntries(names.map((name) => [name, needed(name)]));
}

export const randomNamespace = (): string => `t${randomBytes(5).toString('hex')}`;

export async function startDistributed(options: DistributedOptions = {}): Promise<Distributed> {
  const replicas = options.replicas ?? 2;
  const namespace = options.namespace ?? randomNamespace();
  const jobs = `${namespace}-runs`;
  await kubectl('create', 'namespace', jobs);
  const password = randomBytes(12).toString('hex');
  const ports = { api: await freePorts(replicas), scheduler: await freePorts(replicas) };
  const front = await openBalancer(ports.api);
  const desk = await openBalancer(ports.scheduler, '0.0.0.0');
  const gateway = needed('TESTBED_GATEWAY');
  const common: Readonly<Record<string, string>> = {
    ...serversOfEnvironment(),
    ...options.servers,
    ...options.objects,
    SLUICE_NAMESPACE: namespace,
    // Reserved on the server, which other tests use as well.
    NATS_STREAM_BYTES: '16777216',
    SLUICE_HEALTH_HOST: '127.0.0.1',
    SLUICE_LOG_LEVEL: 'info',
    SLUICE_RECONCILE_INTERVAL: '5',
  };
  const keys = {
    SLUICE_SECRETS_KEY: `k1:${randomBytes(32).toString('base64')}`,
    SLUICE_RUNNER_KEY: randomBytes(32).toString('hex'),
  };
  const image = await supervisorImage();
  const own = (name: ComponentName, index: number): Record<string, string> => {
    if (name === 'storage-events') return {};
    if (name === 'api') {
      return {
        ...keys,
        OSCAR_PASSWORD: password,
        OSCAR_SERVICE_PORT: String(ports.api[index]),
        OSCAR_SERVICES_NAMESPACE: jobs,
      };
    }
    return {
      ...keys,
      KUBECONFIG: needed('KUBECONFIG'),
      OSCAR_SERVICES_NAMESPACE: jobs,
      SLUICE_SCHEDULER_PORT: String(ports.scheduler[index]),
      SLUICE_SCHEDULER_URL: `http://${gateway}:${desk.port}`,
      SLUICE_SUPERVISOR_IMAGE: image,
      SLUICE_POD_MINIO_ENDPOINT: podEndpoint(common['MINIO_ENDPOINT'] ?? '', gateway),
      SLUICE_MAX_RUNS: '8',
    };
  };
  const remove = async (): Promise<void> => {
    await kubectl('delete', 'namespace', jobs, '--wait=false');
    if (options.servers === undefined) await removeStored(namespace);
  };
  const components: ComponentProcess[] = [];
  for (const name of ['scheduler', 'storage-events', 'api'] as const) {
    for (let index = 0; index < replicas; index += 1) {
      const env = { ...common, ...own(name, index), ...options.env };
      components.push(await makeComponent(name, index, env));
    }
  }
  try {
    await Promise.all(components.map((one) => one.start()));
  } catch (error) {
    await Promise.allSettled(components.map((one) => one.stop('SIGKILL')));
    await Promise.allSettled([front.close(), desk.close(), remove()]);
    throw error;
  }
  const apis = ports.api.map((port) => `http://127.0.0.1:${port}`);
  return describeForm({ namespace, jobs, apis, password, keys, front, desk, components, remove });
}

function describeForm(parts: {
  namespace: string;
  jobs: string;
  apis: readonly string[];
  password: string;
  keys: Readonly<Record<string, string>>;
  front: Balancer;
  desk: Balancer;
  components: readonly ComponentProcess[];
  remove: () => Promise<void>;
}): Distributed {
  const { namespace, jobs, apis, password, keys, front, desk, components, remove } = parts;
  const url = `http://127.0.0.1:${front.port}`;
  const username = 'oscar';
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return {
    namespace,
    jobs,
    url,
    apis,
    username,
    password,
    components,
    desk: `http://127.0.0.1:${desk.port}`,
    secrets: { ...keys, OSCAR_PASSWORD: password },
    request: (path, init = {}) => {
      const headers = new Headers(init.headers);
      if (!headers.has('authorization')) headers.set('authorization', basic);
      return fetch(`${url}${path}`, { ...init, headers, redirect: 'manual' });
    },
    sluice: (...args) =>
      run(process.execPath, [cliBin, ...args], {
        env: { SLUICE_URL: url, SLUICE_USERNAME: username, SLUICE_PASSWORD: password },
      }),
    close: async () => {
      await Promise.all(components.map((one) => one.stop('SIGTERM')));
      await Promise.all([front.close(), desk.close()]);
      await remove();
    },
  };
}

async function makeComponent(
  name: ComponentName,
  index: number,
  env: Readonly<Record<string, string>>,
): Promise<ComponentProcess> {
  const healthPort = await freePort();
  const current: { child?: ChildProcess; stderr: () => string } = { stderr: () => '' };
  const launch = (): void => {
    const child = spawn(process.execPath, [componentBin, name], {
      cwd: root,
      env: cleanEnv({ ...noBuilder, ...env, SLUICE_HEALTH_PORT: String(healthPort) }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    current.child = child;
    current.stderr = collect(child).stderr;
    // Where a test shall be understood afterwards.
    const folder = process.env['SLUICE_TEST_LOGS'];
    if (folder !== undefined)
      child.stderr.pipe(createWriteStream(join(folder, `${name}-${index}.log`), { flags: 'a' }));
  };
  const ready = (): Promise<void> =>
    readiness(`${name} ${index}`, healthPort, current.child, () => current.stderr());
  return {
    name,
    index,
    healthPort,
    process: () => {
      if (current.child === undefined) throw new Error(`${name} ${index} is not started`);
      return current.child;
    },
    stderr: () => current.stderr(),
    stop: async (signal = 'SIGTERM') => {
      const { child } = current;
      if (child === undefined) return null;
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill(signal);
        await ended;
      }
      return child.exitCode;
    },
    launch,
    ready,
    start: async () => {
      launch();
      await ready();
    },
  };
}

async function readiness(
  name: string,
  healthPort: number,
  child: ChildProcess | undefined,
  stderr: () => string,
): Promise<void> {
  const ask = (): Promise<Response | undefined> =>
    fetch(`http://127.0.0.1:${healthPort}/health/ready`).catch(() => undefined);
  await waitFor(
    `${name} to be ready`,
    async () => {
      if (child?.exitCode !== null) throw new Error(`${name} ended early: ${stderr()}`);
      return (await ask())?.ok === true ? true : undefined;
    },
    60_000,
  ).catch(async (error: unknown) => {
    const answer = await ask();
    throw new Error(`${String(error)}: ${(await answer?.text()) ?? ''} ${stderr().slice(-2000)}`);
  });
}

/** Starts a component where it is expected to refuse; resolves with how it ended. */
export function startComponentRefused(
  name: ComponentName,
  env: Readonly<Record<string, string>>,
): Promise<Finished> {
  return run(process.execPath, [componentBin, name], { env: { SLUICE_HEALTH_PORT: '0', ...env } });
}

async function freePorts(count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, freePort));
}

/** Servers of this machine have another address in a pod. */
function podEndpoint(endpoint: string, gateway: string): string {
  const url = new URL(endpoint);
  if (/^(127\.|localhost$)/.test(url.hostname)) url.hostname = gateway;
  return url.origin;
}

export async function kubectl(...args: readonly string[]): Promise<string> {
  const done = await run('kubectl', args, { env: { KUBECONFIG: needed('KUBECONFIG') } });
  if (done.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`);
  return done.stdout;
}

/** Streams, buckets of definitions and keys of one namespace. */
export async function removeStored(namespace: string): Promise<void> {
  const { connect } = await import('@nats-io/transport-node');
  const { jetstreamManager } = await import('@nats-io/jetstream');
  const { Redis } = await import('ioredis');
  const nats = await connect({ servers: needed('NATS_URL').split(',') });
  const manager = await jetstreamManager(nats);
  for await (const stream of manager.streams.list()) {
    const { name } = stream.config;
    if (name.toLowerCase().includes(namespace)) {
      await manager.streams.delete(name);
      continue;
    }
    for await (const consumer of manager.consumers.list(name)) {
      if (consumer.name.includes(namespace)) await manager.consumers.delete(name, consumer.name);
    }
  }
  await nats.drain();
  const redis = new Redis(needed('REDIS_URL'));
  for await (const keys of redis.scanStream({ match: `{${namespace}}:*`, count: 1000 })) {
    if (Array.isArray(keys) && keys.length > 0) await redis.unlink(...(keys as string[]));
  }
  redis.disconnect();
}
