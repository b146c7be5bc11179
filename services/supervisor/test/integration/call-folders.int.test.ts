import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createCallFolders, type CallFolders } from '../../src/files/call-folders.ts';
import { createFolderRemover } from '../../src/files/folder-remover.ts';

let dir: string;
let folders: CallFolders;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-folders-'));
  folders = createCallFolders({
    dir: join(dir, 'runner'),
    clock: systemClock,
    remover: createFolderRemover({ clock: systemClock, log: silentLogger() }),
  });
});
afterEach(async () => {
  await folders.close();
  rmSync(dir, { recursive: true, force: true });
});

const names = (): string[] => readdirSync(join(dir, 'runner')).sort();
const prepared = (name: string): Promise<unknown> =>
  eventually(`folder ${name}`, () => existsSync(join(dir, 'runner', name, 'output')));

test('each call has a new folder, and what the one before left goes', async () => {
  const first = await folders.take();
  writeFileSync(join(first.output, 'a'), 'a');
  folders.giveBack(first);
  await eventually(
    'the next folder alone',
    () => names().join() === '2' && existsSync(join(dir, 'runner/2/output')),
  );
  const second = await folders.take();
  expect(second.root).not.toBe(first.root);
  expect(readdirSync(second.output)).toEqual([]);
});

test('a folder that is prepared is used', async () => {
  folders.tidy();
  await prepared('1');
  expect((await folders.take()).root.endsWith('/runner/1')).toBe(true);
});

test.each([
  ['a file in its output', (root: string) => writeFileSync(join(root, 'output/planted'), '')],
  ['a file in its input', (root: string) => writeFileSync(join(root, 'input/planted'), '')],
  ['a file beside them', (root: string) => writeFileSync(join(root, 'planted'), '')],
  [
    'a link in place of its output',
    (root: string) => {
      rmSync(join(root, 'output'), { recursive: true });
      symlinkSync(join(dir, 'elsewhere'), join(root, 'output'));
    },
  ],
  [
    'a link in its own place',
    (root: string) => {
      rmSync(root, { recursive: true });
      mkdirSync(join(dir, 'elsewhere/input'), { recursive: true });
      mkdirSync(join(dir, 'elsewhere/output'));
      symlinkSync(join(dir, 'elsewhere'), root);
    },
  ],
  ['nothing in its place', (root: string) => rmSync(root, { recursive: true })],
])('a folder that was prepared and then met with %s is not used', async (_what, meddle) => {
  mkdirSync(join(dir, 'elsewhere'));
  folders.tidy();
  await prepared('1');
  meddle(join(dir, 'runner/1'));
  const taken = await folders.take();
  expect(taken.root.endsWith('/runner/2')).toBe(true);
  expect(readdirSync(taken.output)).toEqual([]);
  folders.giveBack(taken);
  await folders.close();
  expect(names()).toEqual([]);
  expect(existsSync(join(dir, 'elsewhere'))).toBe(true);
});

test('calls that follow one another closely never leave more than two folders behind', async () => {
  for (let call = 0; call < 20; call += 1) {
    const folder = await folders.take();
    folders.tidy();
    // The one in use, two that are left, the next.
    expect(names().length).toBeLessThanOrEqual(4);
    folders.giveBack(folder);
  }
});
