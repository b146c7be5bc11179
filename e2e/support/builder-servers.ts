import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { needed } from './distributed.ts';
import { openServer, type OwnServer } from './own-servers.ts';
import { removeFolder, run, tempFolder } from './server.ts';

/** A server of the builder that a test may stop, kill and start again with the same data. */
export interface BuilderServer extends OwnServer {
  /** `127.0.0.1:port` */
  readonly host: string;
  close(): Promise<void>;
}

/** Redis that forgets nothing when it is stopped. */
export async function openBuildRedis(): Promise<BuilderServer & { readonly url: string }> {
  const folder = await tempFolder();
  const redis = await openServer((port) => ({
    program: 'redis-server',
    args: `--port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly yes --appendfsync always`.split(' '),
  }));
  return { ...closing(redis, folder), url: `redis://127.0.0.1:${redis.port}/0` };
}

/** BuildKit's daemon; steps have this machine's network. */
export async function openBuildkitd(): Promise<BuilderServer> {
  const folder = await tempFolder();
  const config = join(folder, 'buildkitd.toml');
  const bed = `[registry."${needed('REGISTRY_HOST')}"]\n  http = true\n`;
  await writeFile(config, `root = "${join(folder, 'root')}"\n[worker.oci]\n  networkMode = "host"\n${bed}`);
  const daemon = await openServer((port) => ({
    program: 'buildkitd',
    args: ['--config', config, '--addr', `tcp://127.0.0.1:${port}`],
  }));
  return closing(daemon, folder, () => unmountUnder(folder));
}

export interface OwnRegistry extends BuilderServer {
  /** Stops it and starts it again, so that it takes pushes or does not. */
  restart(mode: 'writable' | 'read-only'): Promise<void>;
}

/** Of a registry that wants a login. */
export const registryLogin = { username: 'anna', password: 'pass&word+of-anna' } as const;
const passwordHash = '$2y$05$abcdefghijklmnopqrstuumwuTz4sZrWGRCrVDmASHpKlP7OpCUXy';

export async function openBuildRegistry(access: 'open' | 'login' = 'open'): Promise<OwnRegistry> {
  const folder = await tempFolder();
  const config = join(folder, 'config.yml');
  const users = join(folder, 'users');
  await mkdir(join(folder, 'data'));
  await writeFile(users, `${registryLogin.username}:${passwordHash}\n`);
  const configure = async (port: number, isReadOnly: boolean): Promise<void> => {
    const settings = {
      version: 0.1,
      log: { level: 'error' },
      storage: {
        filesystem: { rootdirectory: join(folder, 'data') },
        delete: { enabled: true },
        maintenance: { readonly: { enabled: isReadOnly } },
      },
      http: { addr: `127.0.0.1:${port}` },
      ...(access === 'login' ? { auth: { htpasswd: { realm: 'test', path: users } } } : {}),
    };
    // JSON is YAML.
    await writeFile(config, JSON.stringify(settings));
  };
  const registry = await openServer(async (port) => {
    await configure(port, false);
    return { program: 'registry', args: ['serve', config] };
  });
  return {
    ...closing(registry, folder),
    restart: async (mode) => {
      await registry.stop('SIGKILL');
      await configure(registry.port, mode === 'read-only');
      await registry.start();
    },
  };
}

/** Small, and extends itself by doing what the file says (`extending`). */
const extend = `#!/bin/sh
sed -n 's/^#! //p' /tmp/requirements.txt >/tmp/steps
exec /bin/sh -eu /tmp/steps
`;

/** Text of a requirements file with which `pushBase`'s image does what the shell says. */
export const extending = (shell: string): string => `#! ${shell}\n`;

/**
 * Pushes a base image that does what requirements files tell it, so that builds take as long as a test wants.
 * @returns its name
 */
export async function pushBase(
  registry: string,
  login?: typeof registryLogin,
  name = 'library/base:1',
): Promise<string> {
  const folder = await tempFolder();
  const image = `${registry}/${name}`;
  try {
    await writeFile(join(folder, 'extend'), extend);
    await chmod(join(folder, 'extend'), 0o755);
    const from = `FROM ${needed('REGISTRY_HOST')}/library/busybox\n`;
    await writeFile(join(folder, 'Dockerfile'), `${from}COPY extend /bin/extend\n`);
    const auth =
      login === undefined ? '' : Buffer.from(`${login.username}:${login.password}`).toString('base64');
    const auths = login === undefined ? {} : { [registry]: { auth } };
    await writeFile(join(folder, 'config.json'), JSON.stringify({ auths }));
    const done = await run(
      'buildctl',
      [
        '--addr',
        needed('BUILDKIT_HOST'),
        'build',
        '--frontend=dockerfile.v0',
        `--local=context=${folder}`,
        `--local=dockerfile=${folder}`,
        `--output=type=image,name=${image},push=true,registry.insecure=true`,
      ],
      { env: { DOCKER_CONFIG: folder } },
    );
    if (done.code !== 0) throw new Error(`the base image could not be pushed: ${done.stderr}`);
    return image;
  } finally {
    await removeFolder(folder);
  }
}

function closing(server: OwnServer, folder: string, clear: () => void = () => undefined): BuilderServer {
  return {
    ...server,
    host: `127.0.0.1:${server.port}`,
    close: async () => {
      await server.stop('SIGKILL');
      clear();
      await removeFolder(folder);
    },
  };
}

/** What a daemon that was killed has left mounted. */
function unmountUnder(folder: string): void {
  const places = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place.startsWith(`${folder}/`));
  for (const place of places.toReversed()) execFileSync('umount', ['-l', place], { stdio: 'ignore' });
}
