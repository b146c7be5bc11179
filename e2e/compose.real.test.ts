import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sluiceImage } from './support/images.ts';
import { freePort } from './support/minio.ts';
import { needed } from './support/distributed.ts';
import { cliBin, root, run, type Finished } from './support/server.ts';
import { firstSteps } from './support/smoke.ts';

/* `docker compose up`: the file of this repository on a real engine, used from outside. */

const project = `t${randomBytes(5).toString('hex')}`;
const password = randomBytes(12).toString('hex');
let port: number;
let data: string;
let env: Record<string, string>;

const compose = (...args: readonly string[]): Promise<Finished> =>
  run('docker', ['compose', '-p', project, '-f', join(root, 'docker-compose.yml'), ...args], { env });
const sluice = (...args: readonly string[]): Promise<Finished> =>
  run(process.execPath, [cliBin, ...args], {
    env: { SLUICE_URL: `http://127.0.0.1:${port}`, SLUICE_USERNAME: 'oscar', SLUICE_PASSWORD: password },
  });

beforeAll(async () => {
  port = await freePort();
  // A folder that the engine sees by the same path.
  data = await mkdtemp('/tmp/sluice-compose-');
  const dockerHost = needed('DOCKER_HOST');
  env = {
    DOCKER_HOST: dockerHost,
    SLUICE_IMAGE: await sluiceImage(),
    SLUICE_PORT: String(port),
    SLUICE_MINIO_PORT: String(await freePort()),
    SLUICE_PASSWORD: password,
    SLUICE_DATA: data,
    SLUICE_DOCKER_SOCKET: new URL(dockerHost).pathname,
    SLUICE_RUNNER_KEY: randomBytes(32).toString('hex'),
    SLUICE_SECRETS_KEY: `k1:${randomBytes(32).toString('base64')}`,
  };
  const pulled = await run('docker', ['pull', '-q', env['SLUICE_IMAGE'] ?? ''], { env });
  if (pulled.code !== 0) throw new Error(pulled.stderr);
  const up = await compose('up', '--no-build', '--wait', '--wait-timeout', '180');
  if (up.code !== 0) throw new Error(`${up.stderr}\n${(await compose('logs', '--tail', '40')).stdout}`);
}, 400_000);
afterAll(async () => {
  await compose('down', '--volumes', '--timeout', '15');
  await rm(data, { recursive: true, force: true });
}, 120_000);

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(sluice, 'upper');
});

test('every process says that it is ready, and nothing of the user holds a credential of a server', async () => {
  const doctor = await sluice('doctor');
  expect(doctor.code, doctor.stdout + doctor.stderr).toBe(0);
});
