import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRegistryClient, type RegistryClient } from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually, freePort } from '@sluice/shared/testing';
import type { BuildPlan } from '../../src/ports.ts';

export interface TestBed {
  readonly registry: string;
  readonly buildkit: string;
}

export function testBed(): TestBed {
  const { REGISTRY_HOST, BUILDKIT_HOST } = process.env;
  if (!REGISTRY_HOST || !BUILDKIT_HOST) {
    throw new Error(
      'this test needs buildkitd (BUILDKIT_HOST) and a registry with library/busybox that allows pushes and deletion (REGISTRY_HOST, host:port)',
    );
  }
  return { registry: REGISTRY_HOST, buildkit: BUILDKIT_HOST };
}

export const randomName = (): string => `t${randomBytes(6).toString('hex')}`;

export function registryClient(): RegistryClient {
  return createRegistryClient({
    logins: () => Promise.resolve(undefined),
    platform: { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
    clock: systemClock,
  });
}

/** A build of busybox with a file and the commands given. */
export function planOf(
  repository: string,
  steps: readonly string[],
  more: Partial<BuildPlan> = {},
): BuildPlan {
  return {
    id: randomName(),
    user: 'anna',
    kind: 'python',
    dockerfile: [`FROM ${testBed().registry}/library/busybox`, ...steps, ''].join('\n'),
    files: [],
    push: `${repository}:python-one`,
    labels: { 'io.sluice.build.kind': 'python' },
    platforms: [],
    sbom: false,
    provenance: false,
    cache: undefined,
    sharedCaches: [],
    force: false,
    logins: {},
    timeoutMs: 60_000,
    ...more,
  };
}

/** Whether a process has this in its command line. */
export function runs(marker: string): boolean {
  return processesWith(marker).length > 0;
}

/** Kills a test's own `sleep`, which its daemon has left behind. */
export function endStep(marker: string): void {
  for (const pid of processesWith(`sleep\0${marker}`)) process.kill(pid, 'SIGKILL');
}

function processesWith(marker: string): readonly number[] {
  const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid);
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
    } catch {
      return false;
    }
  });
}

/** A server of a test's own. */
export interface OwnServer {
  /** `127.0.0.1:port` */
  readonly host: string;
  signal(signal: NodeJS.Signals): Promise<void>;
  close(): Promise<void>;
}

/** Of the registry that wants a login. */
export const login = { username: 'anna', password: 'pass&word+of-anna' } as const;
const passwordHash = '$2y$05$abcdefghijklmnopqrstuumwuTz4sZrWGRCrVDmASHpKlP7OpCUXy';

export async function openOwnRegistry(
  settings: 'login' | 'read-only' | 'no-deletion' | 'full',
): Promise<OwnServer> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  const port = await freePort();
  const data = join(folder, 'data');
  if (settings === 'full') {
    await mkdir(data);
    // Smaller than the base image; needs root, as the daemon does.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', data]);
  }
  const users = join(folder, 'users');
  await writeFile(users, `${login.username}:${passwordHash}\n`);
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: {
      filesystem: { rootdirectory: data },
      delete: { enabled: settings !== 'no-deletion' },
      maintenance: { readonly: { enabled: settings === 'read-only' } },
    },
    http: { addr: `127.0.0.1:${port}` },
    ...(settings === 'login' ? { auth: { htpasswd: { realm: 'test', path: users } } } : {}),
  };
  const path = join(folder, 'config.yml');
  // JSON is YAML.
  await writeFile(path, JSON.stringify(config));
  return startServer({ program: 'registry', args: ['serve', path], port, folder });
}

export interface Certificates {
  readonly folder: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A daemon of a test's own, with TLS where certificates are given. */
export async function openOwnBuildkitd(certificates?: Certificates): Promise<OwnServer> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-buildkitd-'));
  const port = await freePort();
  const path = join(folder, 'buildkitd.toml');
  const registry = `[registry."${testBed().registry}"]\n  http = true\n`;
  await writeFile(
    path,
    `root = "${join(folder, 'root')}"\n[worker.oci]\n  networkMode = "host"\n${registry}`,
  );
  const file = (name: string): string => join(certificates?.folder ?? '', name);
  const tls =
    certificates === undefined
      ? []
      : ['--tlscacert', file('ca.pem'), '--tlscert', file('server.pem'), '--tlskey', file('server.key')];
  const args = ['--config', path, '--addr', `tcp://127.0.0.1:${port}`, ...tls];
  return startServer({ program: 'buildkitd', args, port, folder });
}

/** An authority, a server's certificate for 127.0.0.1 and a client's. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-certificates-'));
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    '2',
    '-subj',
    '/CN=test-ca',
  );
  for (const name of ['server', 'client']) {
    await writeFile(
      join(folder, 'extensions'),
      'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n',
    );
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const authority = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...authority,
      '-out',
      `${name}.pem`,
      '-extfile',
      'extensions',
    );
  }
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  return { folder, ca: read('ca.pem'), cert: read('client.pem'), key: read('client.key') };
}

async function startServer(options: {
  readonly program: string;
  readonly args: readonly string[];
  readonly port: number;
  readonly folder: string;
}): Promise<OwnServer> {
  const { program, args, port, folder } = options;
  const logFile = join(folder, 'log');
  const output = openSync(logFile, 'a');
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', output, output] });
  const failed = once(child, 'error').then(([error]) => {
    throw new Error(`this test starts servers of its own: have "${program}" on PATH`, { cause: error });
  });
  failed.catch(() => undefined);
  const ready = eventually(`${program} listens`, async () => {
    if (child.exitCode !== null) throw new Error(`${program}: ${await readFile(logFile, 'utf8')}`);
    return listens(port);
  });
  const clear = async (): Promise<void> => {
    unmountUnder(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.race([failed, ready]);
  } catch (error) {
    child.kill('SIGKILL');
    await clear();
    throw error;
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  };
  return {
    host: `127.0.0.1:${port}`,
    signal: end,
    close: async () => {
      await end('SIGKILL');
      await clear();
    },
  };
}

/** What a daemon that was interrupted has left mounted. */
function unmountUnder(folder: string): void {
  const places = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place.startsWith(`${folder}/`));
  for (const place of places.reverse()) execFileSync('umount', ['-l', place], { stdio: 'ignore' });
}

/** Passes connections on to the daemon, until they are cut. */
export interface Relay {
  readonly host: string;
  cut(): Promise<void>;
}

export async function openRelay(to: string): Promise<Relay> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const next = connect(Number(port), hostname);
    for (const one of [socket, next]) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        socket.destroy();
        next.destroy();
      });
    }
    socket.pipe(next).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
