import { link, mkdir, mkdtemp, open, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '@sluice/shared/lifecycle';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createNoOpenFiles, createProcOpenFiles } from '../../src/adapters/open-files.ts';

type Wanted = Parameters<ReturnType<typeof createProcOpenFiles>['writtenTo']>[0];

let dir: string;
let proc: string;
let descriptors = 0;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'sluice-open-')));
  proc = join(dir, 'proc');
  await mkdir(join(proc, '42/fd'), { recursive: true });
  await mkdir(join(proc, '42/fdinfo'));
  await mkdir(join(proc, 'self-is-no-number/fd'), { recursive: true });
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** A descriptor of process 42. */
async function descriptor(target: string, flags: string): Promise<void> {
  descriptors += 1;
  await symlink(target, join(proc, '42/fd', String(descriptors)));
  await writeFile(join(proc, '42/fdinfo', String(descriptors)), `pos:\t0\nflags:\t${flags}\nmnt_id:\t29\n`);
}

async function fileAt(path: string): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, 'x');
  return path;
}

async function wanted(...paths: readonly string[]): Promise<Wanted> {
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await stat(path, { bigint: true })] as const)),
  );
}

test('files that are open for writing, by their path, and no others', async () => {
  const names = ['written', 'read-and-written', 'read', 'closed'];
  const [written = '', both = '', read = '', closed = ''] = await Promise.all(
    names.map((name) => fileAt(join(dir, 'in', name))),
  );
  await descriptor(written, '0100001');
  await descriptor(both, '02100002');
  await descriptor(read, '0100000');
  await descriptor('socket:[123]', '02');
  await descriptor(`${closed} (deleted)`, '0100001');
  const openFiles = createProcOpenFiles({ clock: systemClock, proc });
  const found = await openFiles.writtenTo(await wanted(written, both, read, closed));
  expect([...found].toSorted()).toEqual([both, written].toSorted());
  expect(await openFiles.writtenTo(new Map())).toEqual(new Set());
});

test('a file under another path, as a container sees it, is known by its inode', async () => {
  const ours = await fileAt(join(dir, 'in/same-name'));
  const other = await fileAt(join(dir, 'elsewhere/same-name'));
  await mkdir(join(dir, 'mounted'));
  await link(ours, join(dir, 'mounted/same-name'));
  await descriptor(join(dir, 'mounted/same-name'), '0100001');
  const openFiles = createProcOpenFiles({ clock: systemClock, proc });
  expect(await openFiles.writtenTo(await wanted(ours, other))).toEqual(new Set([ours]));
});

test('what cannot be looked into is passed over', async () => {
  const path = await fileAt(join(dir, 'in/a'));
  await symlink(path, join(proc, '42/fd/900'));
  await mkdir(join(proc, '43'));
  const openFiles = createProcOpenFiles({ clock: systemClock, proc });
  expect(await openFiles.writtenTo(await wanted(path))).toEqual(new Set());
  expect(
    await createProcOpenFiles({ clock: systemClock, proc: join(dir, 'nowhere') }).writtenTo(
      await wanted(path),
    ),
  ).toEqual(new Set());
});

test('looking takes at most a tenth of the time', async () => {
  const path = await fileAt(join(dir, 'in/a'));
  for (let n = 0; n < 200; n += 1) await descriptor(`/nowhere/${n}`, '01');
  let now = 0;
  // Each look at the clock takes a while: some come for each slice of the work.
  const slow: Clock = { ...systemClock, monotonic: () => (now += 5) };
  const openFiles = createProcOpenFiles({ clock: slow, proc });
  expect(openFiles.restMs()).toBe(0);
  const before = now;
  await openFiles.writtenTo(await wanted(path));
  const took = now - before;
  expect(took).toBeGreaterThan(20);
  expect(openFiles.restMs()).toBeGreaterThan((took - 10) * 8);
  now += took * 10;
  expect(openFiles.restMs()).toBe(0);
});

test.runIf(process.platform === 'linux')('of the real processes, ourselves included', async () => {
  const path = await fileAt(join(dir, 'in/a'));
  const openFiles = createProcOpenFiles({ clock: systemClock });
  expect(await openFiles.writtenTo(await wanted(path))).toEqual(new Set());
  const handle = await open(path, 'a');
  expect(await openFiles.writtenTo(await wanted(path))).toEqual(new Set([path]));
  await handle.close();
  expect(await openFiles.writtenTo(await wanted(path))).toEqual(new Set());
});

test('where there is no /proc, nothing is known', async () => {
  const openFiles = createNoOpenFiles();
  expect(await openFiles.writtenTo(await wanted(await fileAt(join(dir, 'in/a'))))).toEqual(new Set());
  expect(openFiles.restMs()).toBe(0);
});
