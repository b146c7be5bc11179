import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { removeTree } from '../../src/files/remove-tree.ts';
import { createScriptCache } from '../../src/files/script-cache.ts';
import { tempFolder } from './support.ts';

let dir: string;
beforeEach(() => {
  dir = tempFolder();
});
afterEach(() => {
  // Node's own removal does not open closed folders.
  execFileSync('chmod', ['-R', 'u+rwx', dir]);
  rmSync(dir, { recursive: true, force: true });
});
const sh = (script: string) => execFileSync('/bin/bash', ['-c', script], { cwd: dir });

describe('removing a tree', () => {
  test.each([
    ['nothing', 'true'],
    ['a file', 'echo x > tree'],
    ['an empty folder', 'mkdir tree'],
    ['files and folders', 'mkdir -p tree/a/b tree/c; touch tree/x tree/a/y tree/a/b/z; mkfifo tree/c/pipe'],
    [
      'names of any bytes',
      'mkdir tree; touch "tree/$(printf "a\\377")" "tree/-rf" "tree/$(printf "n\\nl")"; mkdir "tree/$(printf "\\376")"; touch "tree/$(printf "\\376")/$(printf "\\375")"',
    ],
    ['many folders', 'mkdir tree; cd tree; mkdir $(seq 2500); for i in $(seq 100); do touch $i/x; done'],
    ['many files', 'mkdir tree; cd tree; touch $(seq 3000)'],
  ])('%s', async (_name, script) => {
    sh(script);
    await removeTree(join(dir, 'tree'));
    expect(readdirSync(dir)).toEqual([]);
  });

  test('deeper than a path may be long', async () => {
    sh(
      'mkdir tree; cd tree; n=$(printf "d%.0s" $(seq 200)); for i in $(seq 60); do mkdir $n; cd $n; touch f; done',
    );
    await removeTree(join(dir, 'tree'));
    expect(readdirSync(dir)).toEqual([]);
  });

  test('links are removed, what they point at stays', async () => {
    mkdirSync(join(dir, 'outside'));
    writeFileSync(join(dir, 'outside', 'precious'), 'x');
    mkdirSync(join(dir, 'tree'));
    symlinkSync(join(dir, 'outside'), join(dir, 'tree', 'link'));
    await removeTree(join(dir, 'tree'));
    symlinkSync(join(dir, 'outside'), join(dir, 'tree'));
    await removeTree(join(dir, 'tree'));
    expect(readdirSync(dir)).toEqual(['outside']);
    expect(existsSync(join(dir, 'outside', 'precious'))).toBe(true);
  });

  test('folders closed by their owner, also by one that is not root', async () => {
    sh(`mkdir -p tree/a/b/c tree/read-only/x/y; touch tree/a/b/c/f tree/read-only/f tree/read-only/x/y/f
      n=$(printf "d%.0s" $(seq 200)); (cd tree; for i in $(seq 12); do mkdir $n; chmod 777 $n; cd $n; done; mkdir closed; chmod 000 closed)
      chmod 000 tree/a/b/c; chmod 000 tree/a/b; chmod 000 tree/a; chmod 555 tree/read-only/x/y tree/read-only/x tree/read-only; chmod 755 tree`);
    const asRoot = process.getuid?.() === 0;
    const nobody = 65_534;
    if (asRoot) {
      sh(`chown -R ${nobody} .`);
      chownSync(dir, nobody, nobody);
      process.seteuid?.(nobody);
    }
    try {
      await removeTree(join(dir, 'tree'));
    } finally {
      if (asRoot) process.seteuid?.(0);
    }
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('the script cache', () => {
  test('keeps a text in a file of its own, closed to others', () => {
    const cache = createScriptCache(join(dir, 'scripts'));
    const path = cache.ensure('echo ü\n');
    expect(readFileSync(path, 'utf8')).toBe('echo ü\n');
    expect(statSync(path).mode & 0o077).toBe(0);
    expect(statSync(join(dir, 'scripts')).mode & 0o077).toBe(0);
    expect(cache.ensure('other')).not.toBe(path);
    expect(readdirSync(join(dir, 'scripts'))).toHaveLength(2);
  });

  test('does not believe what it finds: half a file, one that was changed, rests of a crash', () => {
    const folder = join(dir, 'scripts');
    const path = createScriptCache(folder).ensure('echo whole\n');
    const before = statSync(path).ino;
    expect(createScriptCache(folder).ensure('echo whole\n')).toBe(path);
    expect(statSync(path).ino).toBe(before);
    writeFileSync(path, 'echo wh');
    writeFileSync(join(folder, 'x.new'), 'half');
    const cache = createScriptCache(folder);
    expect(readFileSync(cache.ensure('echo whole\n'), 'utf8')).toBe('echo whole\n');
    expect(readdirSync(folder)).toHaveLength(1);
    writeFileSync(path, 'echo WHOLE\n');
    expect(readFileSync(cache.ensure('echo whole\n'), 'utf8')).toBe('echo whole\n');
    rmSync(folder, { recursive: true });
    expect(readFileSync(cache.ensure('echo whole\n'), 'utf8')).toBe('echo whole\n');
  });

  test('keeps a bounded number, those used last', () => {
    const cache = createScriptCache(join(dir, 'scripts'), 3);
    const first = cache.ensure('1');
    const second = cache.ensure('2');
    cache.ensure('3');
    cache.ensure('1');
    cache.ensure('4');
    expect(existsSync(first)).toBe(true);
    expect(existsSync(second)).toBe(false);
    expect(readdirSync(join(dir, 'scripts'))).toHaveLength(3);
  });
});

test('outputs that cannot be read for want of descriptors may be read by another attempt', () => {
  mkdirSync(join(dir, 'out'));
  writeFileSync(join(dir, 'out/result'), 'x');
  const program = fileURLToPath(new URL('short-of-descriptors.ts', import.meta.url));
  const printed = execFileSync('/bin/bash', [
    '-c',
    'ulimit -n 60; exec "$0" "$@"',
    process.execPath,
    program,
    join(dir, 'out'),
  ]);
  expect(JSON.parse(printed.toString())).toEqual([
    { code: 'output_failed', retryable: true, text: 'the output folder "" cannot be read (EMFILE)' },
    { code: 'output_failed', retryable: true, text: 'the output "result" cannot be read (EMFILE)' },
  ]);
});
