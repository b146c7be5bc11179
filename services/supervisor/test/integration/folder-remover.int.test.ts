import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLogger } from '@sluice/shared/telemetry';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createFolderRemover } from '../../src/files/folder-remover.ts';
import { tempFolder, testPlan } from './support.ts';

let dir: string;
beforeEach(() => {
  dir = tempFolder();
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

test('what could not be removed for want of descriptors is removed once there are some', () => {
  const program = fileURLToPath(new URL('folders-without-descriptors.ts', import.meta.url));
  const printed = execFileSync(
    '/bin/bash',
    ['-c', 'ulimit -n 60; exec "$0" "$@"', process.execPath, program, dir, JSON.stringify(testPlan())],
    { timeout: 15_000 },
  );
  const told = { msg: 'work folder was removed after more than one try', tries: 2 };
  expect(JSON.parse(printed.toString())).toEqual({
    code: 'output_failed',
    left: ['run/output/result', 'runner/1/output/result'],
    told: [told, told],
  });
});

test('the tries and the folders that wait for one are bounded, and what is given up is told', async () => {
  const lines: { msg: string; tries: number; run: number }[] = [];
  const log = createLogger({
    name: 'test',
    level: 'info',
    destination: { write: (line) => lines.push(JSON.parse(line)) },
  });
  const pauses: number[] = [];
  const wake: (() => void)[] = [];
  const remover = createFolderRemover({
    log,
    clock: {
      now: () => 0,
      monotonic: () => 0,
      sleep: (ms) => {
        pauses.push(ms);
        return new Promise((resolve) => wake.push(resolve));
      },
    },
  });
  // A path through a file can't be removed by anybody.
  writeFileSync(join(dir, 'file'), '');
  for (let run = 0; run <= 1000; run += 1) await remover.remove(join(dir, 'file/folder'), { run });
  expect(lines).toMatchObject([{ msg: 'work folder is left until the next start', tries: 1, run: 1000 }]);
  expect(pauses).toHaveLength(1000);
  lines.length = 0;
  while (lines.length < 1000) {
    for (const resolve of wake.splice(0)) resolve();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(new Set(lines.map(({ tries }) => tries))).toEqual(new Set([6]));
  expect([...new Set(pauses)]).toEqual([100, 1000, 5000, 30_000, 120_000]);
  // There is room again.
  mkdirSync(join(dir, 'folder'));
  await remover.remove(join(dir, 'folder'), {});
  expect(existsSync(join(dir, 'folder'))).toBe(false);
  expect(lines).toHaveLength(1000);
});
