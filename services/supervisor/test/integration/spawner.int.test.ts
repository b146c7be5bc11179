import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '@sluice/shared/lifecycle';
import { fakeClock } from '@sluice/shared/testing';
import { createOutputPipes } from '../../src/adapters/output-pipes.ts';
import {
  createScriptSpawner,
  type ScriptSpawner,
  type SpawnRequest,
} from '../../src/adapters/script-spawner.ts';
import { tempFolder, until } from './support.ts';

let dir: string;
let reader: number;
let spawner: ScriptSpawner;

beforeEach(() => {
  dir = tempFolder();
  execFileSync('mkfifo', [join(dir, 'out')]);
  reader = openSync(join(dir, 'out'), constants.O_RDWR);
});
afterEach(async () => {
  await spawner.stop();
  closeSync(reader);
  rmSync(dir, { recursive: true, force: true });
});

const sh = (script: string): SpawnRequest => ({
  program: '/bin/sh',
  args: ['-c', script],
  env: { PATH: process.env['PATH'] ?? '' },
  cwd: dir,
  output: join(dir, 'out'),
});

test('a script that stops the helper stops neither itself nor the scripts after it', async () => {
  spawner = createScriptSpawner({ clock: systemClock, pingMs: 50 });
  const { ended } = await spawner.spawn(sh('sleep 0.3; kill -STOP $PPID; exit 5'));
  const next = spawner.spawn(sh('sleep 0.6; exit 3'));
  expect(await ended).toEqual({ code: 5, signal: null });
  expect(await (await next).ended).toEqual({ code: 3, signal: null });
});

test('a helper that answers is left alone however long its scripts run', async () => {
  spawner = createScriptSpawner({ clock: systemClock, pingMs: 50 });
  const { ended } = await spawner.spawn(sh('sleep 2; exit 4'));
  expect(await ended).toEqual({ code: 4, signal: null });
});

test('the end of the server does not wait for a helper that is stopped', async () => {
  spawner = createScriptSpawner({ clock: systemClock });
  const { pid, ended } = await spawner.spawn(sh('sleep 0.3; kill -STOP $PPID; touch stopped; exec sleep 60'));
  const lost = expect(ended).rejects.toMatchObject({ code: 'unavailable' });
  await until(() => existsSync(join(dir, 'stopped')), 'the helper is stopped');
  await spawner.stop();
  await lost;
  process.kill(-pid, 'SIGKILL');
});

test('pipes are made again in a folder that was removed', async () => {
  spawner = createScriptSpawner({ clock: systemClock });
  const folder = join(dir, 'pipes');
  const pipes = createOutputPipes(folder);
  const first = await pipes.open();
  rmSync(folder, { recursive: true });
  const second = await pipes.open();
  expect(second.path).not.toBe(first.path);
  for (const pipe of [first, second]) {
    closeSync(pipe.readFd);
    closeSync(pipe.writeFd);
  }
});

test('the helper stays while somebody keeps it, however long nothing runs', async () => {
  const clock = fakeClock();
  spawner = createScriptSpawner({ clock });
  const helperOf = async (name: string): Promise<string> => {
    const { ended } = await spawner.spawn(sh(`echo $PPID > ${name}`));
    await ended;
    clock.advance(60_000);
    await setImmediate();
    return readFileSync(join(dir, name), 'utf8');
  };
  const releases = [spawner.keep(), spawner.keep()];
  const first = await helperOf('first');
  expect(await helperOf('second')).toBe(first);
  releases[0]?.();
  releases[0]?.();
  expect(await helperOf('third')).toBe(first);
  releases[1]?.();
  expect(await helperOf('fourth')).toBe(first);
  expect(await helperOf('fifth')).not.toBe(first);
});
