import { execFileSync } from 'node:child_process';
import { appendFile, chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openWorld, type World } from '../support/world.ts';

// What docs/file-events.md promises, action by action.
let world: World;
let input: string;
let outside: string;

beforeEach(async () => {
  world = await openWorld();
  outside = join(world.folders.dir, 'outside');
  await mkdir(outside);
  await mkdir(world.path('photos/in'), { recursive: true });
  await writeFile(world.path('photos/in/from-before'), 'old');
  await world.createService('thumb', ['photos/in']);
  input = world.path('photos/in');
  await world.start();
  await writeFile(join(outside, 'a'), 'content');
  execFileSync('cp', ['-p', join(outside, 'a'), join(input, 'a')]);
  await world.runs('thumb', 1);
});
afterEach(async () => {
  await world.close();
});

/** The keys that have had runs, in order, once all that happened before has had its run: two files came and ran after it. */
async function keysRun(): Promise<readonly string[]> {
  for (const name of ['y-marker', 'z-marker']) {
    await writeFile(join(input, name), 'x');
    await eventually('a later file has its run', async () => (await keys()).includes(`in/${name}`));
  }
  return (await keys()).filter((key) => !key.endsWith('-marker'));
}

async function keys(): Promise<readonly string[]> {
  return (await world.allRuns('thumb')).map((run) => run.input?.key ?? '').toSorted();
}

const a = (): string => join(input, 'a');
const actions: readonly [string, () => Promise<unknown>, readonly string[]][] = [
  ['copying the same bytes again', async () => writeFile(a(), await readFile(a())), ['in/a', 'in/a']],
  [
    'uploading the same bytes again',
    async () => world.objects.put('photos', 'in/a', Buffer.from('content')),
    ['in/a', 'in/a'],
  ],
  [
    'cp -p of the same file over itself',
    async () => execFileSync('cp', ['-p', join(outside, 'a'), a()]),
    ['in/a'],
  ],
  ['touch', async () => execFileSync('touch', [a()]), ['in/a', 'in/a']],
  ['appending', async () => appendFile(a(), 'more'), ['in/a', 'in/a']],
  [
    'moving out and back',
    async () => {
      await rename(a(), join(outside, 'b'));
      await rename(join(outside, 'b'), a());
    },
    ['in/a'],
  ],
  ['renaming inside', async () => rename(a(), join(input, 'b')), ['in/a', 'in/b']],
  ['a hard link', async () => link(a(), join(input, 'b')), ['in/a', 'in/b']],
  ['chmod', async () => chmod(a(), 0o600), ['in/a']],
  [
    'chmod of a file from before the service',
    async () => chmod(join(input, 'from-before'), 0o600),
    ['in/a', 'in/from-before'],
  ],
  [
    'restoring a copy, with its times',
    async () => {
      execFileSync('cp', ['-p', join(outside, 'a'), join(outside, 'copy')]);
      await rm(a());
      await rename(join(outside, 'copy'), a());
    },
    ['in/a', 'in/a'],
  ],
  [
    'a folder moved in',
    async () => {
      await mkdir(join(outside, 'set/sub'), { recursive: true });
      await rename(join(outside, 'a'), join(outside, 'set/sub/c'));
      await rename(join(outside, 'set'), join(input, 'set'));
    },
    ['in/a', 'in/set/sub/c'],
  ],
];

test.each(actions)('%s', async (_, act, expected) => {
  await act();
  expect(await keysRun()).toEqual(expected);
});
