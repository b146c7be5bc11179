import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { needed } from './support/distributed.ts';
import { blocksOf } from './support/doc-blocks.ts';
import { sluiceImage } from './support/images.ts';
import { freePort } from './support/minio.ts';
import { cliBin, root, run, type Finished } from './support/server.ts';
import { firstImage, firstSteps, healthy } from './support/smoke.ts';

/* The commands of docs/deploy.md for one machine, as they are written there; only the image is built beforehand, and pulled. */

const page = 'docs/deploy.md';
const project = `t${randomBytes(5).toString('hex')}`;
let folder: string;
let data: string;
let env: Record<string, string>;
let made: Map<string, string>;

const shell = (command: string): Promise<Finished> =>
  run('bash', ['-euo', 'pipefail', '-c', command], { cwd: folder, env });
const compose = (...args: readonly string[]): Promise<Finished> =>
  run('docker', ['compose', ...args], { cwd: folder, env });
const docker = async (...args: readonly string[]): Promise<string> => {
  const done = await run('docker', args, { env });
  if (done.code !== 0) throw new Error(`docker ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
};
const sluice = (...args: readonly string[]): Promise<Finished> =>
  run(process.execPath, [cliBin, ...args], {
    env: {
      SLUICE_URL: `http://127.0.0.1:${env['SLUICE_PORT'] ?? ''}`,
      SLUICE_USERNAME: 'oscar',
      SLUICE_PASSWORD: made.get('SLUICE_PASSWORD') ?? '',
    },
  });

/** The block of the page in which a text occurs. */
function commands(text: string): string {
  const found = blocksOf(page).find(
    (block) => block.runBy?.endsWith('compose.real.test.ts') && block.text.includes(text),
  );
  if (found === undefined) throw new Error(`${page} has no commands with "${text}" for this test`);
  return found.text;
}

beforeAll(async () => {
  // A checkout of its own, as far as compose looks at it: `.env` lies beside the file.
  folder = await mkdtemp('/tmp/sluice-compose-');
  data = join(folder, 'data');
  await mkdir(join(folder, 'deploy'));
  for (const file of ['docker-compose.yml', 'deploy/compose-env.sh'])
    await copyFile(join(root, file), join(folder, file));
  const dockerHost = needed('DOCKER_HOST');
  env = {
    DOCKER_HOST: dockerHost,
    COMPOSE_PROJECT_NAME: project,
    SLUICE_IMAGE: await sluiceImage(),
    SLUICE_PORT: String(await freePort()),
    SLUICE_MINIO_PORT: String(await freePort()),
    SLUICE_REGISTRY_PORT: String(await freePort()),
    SLUICE_STREAM_BYTES: '16777216',
    SLUICE_DATA: data,
    SLUICE_DOCKER_SOCKET: new URL(dockerHost).pathname,
  };
  await docker('pull', '-q', env['SLUICE_IMAGE'] ?? '');
  const up = await shell(commands('up --build').replace('--build', '--no-build'));
  if (up.code !== 0) throw new Error(`${up.stderr}\n${(await compose('logs', '--tail', '40')).stdout}`);
  const lines = (await readFile(join(folder, '.env'), 'utf8')).trim().split('\n');
  made = new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}, 400_000);
afterAll(async () => {
  await compose('down', '--volumes', '--timeout', '15');
  await rm(folder, { recursive: true, force: true });
}, 120_000);

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(sluice, 'upper');
});

test('with the builder, a requirements file becomes an image that scripts of this engine run in', async () => {
  await writeFile(join(folder, 'docker-compose.override.yml'), await mirrorOverride());
  const up = await shell(commands('COMPOSE_PROFILES').replace('--build', '--no-build'));
  if (up.code !== 0) throw new Error(`${up.stderr}\n${(await compose('logs', '--tail', '40')).stdout}`);
  const port = env['SLUICE_PORT'] ?? '';
  const token = `oscar:${made.get('SLUICE_PASSWORD') ?? ''}`;
  const image = await firstImage(sluice, { url: `http://127.0.0.1:${port}`, login: 'oscar', token });
  expect(image).toBe(`127.0.0.1:${env['SLUICE_REGISTRY_PORT'] ?? ''}/oscar:six`);
}, 300_000);

/** Base images of well-known names are in the registry of the test bed, which builds reach by the address that pods have. */
async function mirrorOverride(): Promise<string> {
  const port = needed('REGISTRY_HOST').split(':')[1] ?? '443';
  const mirror = `${needed('TESTBED_GATEWAY')}:${port}`;
  const shown = await compose('--profile', 'builder', 'config', '--format', 'json');
  const { configs } = JSON.parse(shown.stdout) as { configs: { buildkit: { content: string } } };
  const mirrors = `[registry."docker.io"]\n  mirrors = ["${mirror}"]\n[registry."${mirror}"]\n  http = true\n`;
  const asked = { environment: { SLUICE_REGISTRY_MIRRORS: `docker.io=${mirror}` } };
  // A test bed in a container may lack one of the capabilities that a privileged one asks for; these are what BuildKit uses.
  const buildkit = {
    privileged: false,
    cap_add: ['SYS_ADMIN', 'NET_ADMIN'],
    security_opt: ['seccomp=unconfined', 'apparmor=unconfined', 'systempaths=unconfined'],
    volumes: ['/sys/fs/cgroup:/sys/fs/cgroup:rw'],
  };
  return JSON.stringify({
    services: { api: asked, builder: asked, buildkit },
    configs: { buildkit: { content: configs.buildkit.content + mirrors } },
  });
}

test('the doctor finds nothing', async () => {
  await healthy(sluice);
});

test('without passwords nothing is started, and the message says how to make them', async () => {
  const refused = await compose('--env-file', '/dev/null', 'config', '--quiet');
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('deploy/compose-env.sh');
});

test('keys that are there are never made anew', async () => {
  const before = await readFile(join(folder, '.env'), 'utf8');
  const again = await shell('deploy/compose-env.sh');
  expect(again.code).toBe(1);
  expect(again.stderr).toContain('stays');
  expect(await readFile(join(folder, '.env'), 'utf8')).toBe(before);
});

test('components are nobody’s root, cannot write where they are, and only this machine reaches them', async () => {
  const ids = (await compose('ps', '--quiet', 'api', 'scheduler', 'storage-events', 'builder')).stdout
    .trim()
    .split('\n');
  expect(ids).toHaveLength(4);
  const seen = JSON.parse(await docker('inspect', ...ids)) as {
    Config: { User: string };
    HostConfig: {
      ReadonlyRootfs: boolean;
      CapDrop: string[];
      PortBindings: Record<string, { HostIp: string }[]>;
    };
  }[];
  for (const { Config, HostConfig } of seen) {
    expect(Config.User).toBe('10001:10001');
    expect(HostConfig).toMatchObject({ ReadonlyRootfs: true, CapDrop: ['ALL'] });
    for (const { HostIp } of Object.values(HostConfig.PortBindings).flat()) expect(HostIp).toBe('127.0.0.1');
  }
});

test('what is taken down leaves nothing behind', async () => {
  const instance = (await readFile(join(data, 'instance-id'), 'utf8')).trim();
  expect(instance).not.toBe('');
  const down = await shell(commands('down'));
  expect(down.code, down.stderr).toBe(0);
  for (const label of [`com.docker.compose.project=${project}`, `sluice.instance=${instance}`]) {
    expect(await docker('ps', '--all', '--quiet', '--filter', `label=${label}`)).toBe('');
  }
  const own = ['--quiet', '--filter', `label=com.docker.compose.project=${project}`];
  expect(await docker('volume', 'ls', ...own)).toBe('');
  expect(await docker('network', 'ls', ...own)).toBe('');
}, 90_000);
