import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectl, needed } from './support/distributed.ts';
import { sluiceImage, supervisorImage } from './support/images.ts';
import { freePort } from './support/minio.ts';
import { cleanEnv, cliBin, collect, root, run, type Finished } from './support/server.ts';
import { firstSteps } from './support/smoke.ts';
import { waitFor } from './support/wait.ts';

/* The chart with images of this checkout and the servers that it brings along, installed and removed by deploy/quickstart.sh. */

const namespace = `t${randomBytes(5).toString('hex')}`;
const script = join(root, 'deploy/quickstart.sh');
let env: Record<string, string>;
let quickstart: ChildProcess;
let printed: { stdout(): string; stderr(): string };

const sluice = (...args: readonly string[]): Promise<Finished> => {
  const value = (name: string): string => new RegExp(`${name}=(\\S+)`).exec(printed.stdout())?.[1] ?? '';
  const names = ['SLUICE_URL', 'SLUICE_USERNAME', 'SLUICE_PASSWORD'];
  return run(process.execPath, [cliBin, ...args], {
    env: Object.fromEntries(names.map((name) => [name, value(name)])),
  });
};

beforeAll(async () => {
  env = {
    KUBECONFIG: needed('KUBECONFIG'),
    SLUICE_IMAGE: await sluiceImage(),
    SLUICE_SUPERVISOR_IMAGE: await supervisorImage(),
    SLUICE_NAMESPACE: namespace,
    SLUICE_PORT: String(await freePort()),
  };
  quickstart = spawn(script, { cwd: root, env: cleanEnv(env), stdio: ['ignore', 'pipe', 'pipe'] });
  printed = collect(quickstart);
  try {
    await waitFor(
      'the installation',
      () => {
        if (quickstart.exitCode !== null) throw new Error(printed.stderr());
        return /Forwarding from/.test(printed.stdout()) ? true : undefined;
      },
      360_000,
    );
  } catch (error) {
    const pods = await kubectl('-n', namespace, 'get', 'pods', '-o', 'wide');
    throw new Error(`${printed.stdout()}${printed.stderr()}\n${pods}`, { cause: error });
  }
}, 600_000);
afterAll(async () => {
  quickstart.kill();
  await run(script, ['down'], { env });
}, 240_000);

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(sluice, 'upper');
});

test('helm test passes, and the doctor finds nothing', async () => {
  const tested = await run('helm', ['test', 'sluice', '--namespace', namespace, '--timeout', '2m'], { env });
  expect(tested.code, tested.stdout + tested.stderr).toBe(0);
  const doctor = await sluice('doctor');
  expect(doctor.code, doctor.stdout + doctor.stderr).toBe(0);
});

test('what is removed leaves nothing behind', async () => {
  const ended = once(quickstart, 'exit');
  quickstart.kill('SIGINT');
  await ended;
  const down = await run(script, ['down'], { env });
  expect(down.code, down.stderr).toBe(0);
  const kinds = 'namespaces,clusterroles,clusterrolebindings,persistentvolumes';
  const left = await waitFor(
    'all of it to go',
    async () => {
      const names = (await kubectl('get', kinds, '-o', 'name')).split('\n');
      return names.some((one) => one.includes(namespace)) ? undefined : 'nothing';
    },
    90_000,
  );
  expect(left).toBe('nothing');
});
