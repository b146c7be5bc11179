import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runGuarded, type Command } from '../../src/adapters/guarded-command.ts';
import { createCommandRegistryKeeper } from '../../src/adapters/index.ts';

const never = new AbortController().signal;
const env = { PATH: process.env['PATH'] ?? '' };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-command-'));
});
afterEach(() => rm(folder, { recursive: true }));

const node = (script: string): Command => [process.execPath, '-e', script];
const sh = (script: string): Command => ['sh', '-c', script];

async function run(command: Command, signal = never): Promise<readonly string[]> {
  const lines: string[] = [];
  const onLine = (line: string): void => void lines.push(line);
  await runGuarded(command, { env, clock: systemClock, purpose: 'be tested', onLine }, signal);
  return lines;
}

test('arguments reach the program as they are, and it sees only the given environment', async () => {
  expect(await run(['printf', '%s\n', '$HOME `id`', '--flag', 'a b'])).toEqual([
    '$HOME `id`',
    '--flag',
    'a b',
  ]);
  const seen = (await run(['env'])).map((line) => line.split('=')[0]);
  expect(seen).toEqual(['PATH']);
});

test('what failed is told by its last line, without its arguments', async () => {
  await expect(run(sh('echo first >&2; echo "no such container" >&2; exit 3'))).rejects.toMatchObject({
    code: 'unavailable',
    message: 'The command that is to be tested (sh) ended with 3: no such container',
  });
  await expect(run(['no-such-program-here', '--password=x'])).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(
      /\(no-such-program-here\) ended with 127: no-such-program-here: ENOENT$/,
    ) as string,
  });
});

test('a program that it leaves behind does not make it wait', async () => {
  const began = performance.now();
  await run(sh(`sleep 30 & echo $! > ${folder}/pid`));
  expect(performance.now() - began).toBeLessThan(10_000);
  const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
  expect(isRunning(pid)).toBe(true);
  process.kill(pid, 'SIGKILL');
});

test('broken off, it ends with all that it started, whatever they do with signals', async () => {
  const file = join(folder, 'pids');
  const stop = new AbortController();
  const script = `trap '' TERM; sleep 600 & echo $$ $! > ${file}; wait; while :; do sleep 1; done`;
  const running = run(sh(script), stop.signal);
  const outcome = expect(running).rejects.toMatchObject({
    code: 'unavailable',
    message: 'The command that is to be tested was broken off (enough).',
  });
  const pids = await eventually('it runs', async () => {
    const text = await readFile(file, 'utf8').catch(() => '');
    return text.endsWith('\n') && text.trim().split(' ').map(Number);
  });
  stop.abort(new Error('enough'));
  await outcome;
  for (const pid of pids) await eventually('it is gone', () => !isRunning(pid));
});

test('a limit of time is told as such', async () => {
  await expect(run(['sleep', '600'], AbortSignal.timeout(200))).rejects.toMatchObject({
    message: 'The command that is to be tested took too long.',
  });
});

test('much output passes, a line that never ends is cut', async () => {
  const lines = await run(
    node(`console.log('x'.repeat(100_000)); for (let i = 0; i < 50_000; i++) console.log(i)`),
  );
  expect(lines).toHaveLength(50_001);
  expect(lines[0]?.length).toBeLessThan(10_000);
  expect(lines.at(-1)).toBe('49999');
});

/** A dead one that nobody waited for still has its number. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const keeperOf = (collect: Command, usage?: Command) =>
  createCommandRegistryKeeper({
    readOnly: ['true'],
    writable: ['true'],
    collect,
    usage,
    env,
    clock: systemClock,
  });

test('a collection tells what the registry says, and what is free by its storage', async () => {
  const file = join(folder, 'size');
  const collect = sh(
    `printf 'anna\\n\\n7 blobs marked, 5 blobs and 2 manifests eligible for deletion\\nblob eligible for deletion: sha256:1\\n'; echo 300 > ${file}`,
  );
  const usage = sh(`printf '%s\\t/var/lib/registry\\n' "$(cat ${file} 2>/dev/null || echo 1000)"`);
  expect(await keeperOf(collect, usage).collect(never)).toEqual({
    blobs: 5,
    manifests: 2,
    freedBytes: 700 * 1024,
  });
  expect(await keeperOf(['true']).collect(never)).toEqual({
    blobs: undefined,
    manifests: undefined,
    freedBytes: undefined,
  });
  await expect(keeperOf(['true'], ['echo', 'much']).collect(never)).rejects.toThrow(
    /prints no number of KiB/,
  );
});
