import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openFolders, type Folders } from '../support/folders.ts';
import { watchFolders, type Watched } from '../support/watched.ts';

let folders: Folders;
let watched: Watched;
let input: string;
let outside: string;

const linux = process.platform === 'linux';

beforeEach(async () => {
  folders = await openFolders();
  input = join(folders.buckets, 'photos/in');
  outside = join(folders.dir, 'outside');
  await mkdir(input, { recursive: true });
  await mkdir(outside);
  await writeFile(join(input, 'old.txt'), 'there before');
  watched = await watchFolders(folders, ['photos/in', 'photos/later/deep', 'whole-bucket']);
});
afterEach(async () => {
  await watched.source.stop();
  await folders.close();
});

describe('a file', () => {
  test('that is written, copied with its times, moved in or linked is handed over once, as the store sees it', async () => {
    await writeFile(join(outside, 'a'), 'aaa');
    await utimes(join(outside, 'a'), 1_000_000, 1_000_000);
    await writeFile(join(input, 'written'), 'hello');
    execFileSync('cp', ['-p', join(outside, 'a'), join(input, 'copied')]);
    await rename(join(outside, 'a'), join(input, 'moved'));
    execFileSync('ln', [join(input, 'old.txt'), join(input, 'linked')]);
    for (const name of ['written', 'copied', 'moved', 'linked'])
      await watched.handedOver(`photos/in/${name}`);
    await watched.passed();
    const { object } = await watched.handedOver('photos/in/copied');
    expect(object).toEqual(await folders.objects.head('photos', 'in/copied'));
    expect(object).toMatchObject({ size: 3, lastModified: 1_000_000_000 });
    expect(watched.others().toSorted()).toEqual(
      ['copied', 'linked', 'moved', 'written'].map((name) => `photos/in/${name}`),
    );
  });

  test('of no bytes counts', async () => {
    await writeFile(join(input, 'empty'), '');
    expect((await watched.handedOver('photos/in/empty')).object.size).toBe(0);
  });

  test('that was there before the watching is not news', async () => {
    await watched.passed();
    expect(watched.others()).toEqual([]);
  });

  test('that is touched, overwritten in place, or replaced is news each time, in its new state', async () => {
    const path = join(input, 'a');
    const identities = new Set<string>();
    const next = async (times: number): Promise<void> => {
      identities.add((await watched.handedOver('photos/in/a', times)).object.identity);
    };
    await writeFile(path, 'one');
    await next(1);
    await writeFile(path, 'two');
    await next(2);
    execFileSync('touch', [path]);
    await next(3);
    await writeFile(join(outside, 'b'), 'two');
    await rename(join(outside, 'b'), path);
    await next(4);
    expect(identities.size).toBe(4);
    await watched.passed();
    expect(watched.count('photos/in/a')).toBe(4);
  });

  test('whose rights change keeps its identity', async () => {
    await writeFile(join(input, 'a'), 'one');
    const before = await watched.handedOver('photos/in/a');
    await chmod(join(input, 'a'), 0o600);
    const after = await watched.handedOver('photos/in/a', 2);
    expect(after.object.identity).toBe(before.object.identity);
  });

  test('that is moved out and in again, or renamed inside, is handed over where it is', async () => {
    await writeFile(join(input, 'a'), 'one');
    const first = await watched.handedOver('photos/in/a');
    await rename(join(input, 'a'), join(outside, 'a'));
    await watched.passed();
    await rename(join(outside, 'a'), join(input, 'a'));
    const second = await watched.handedOver('photos/in/a', 2);
    expect(second.object.identity).toBe(first.object.identity);
    await rename(join(input, 'a'), join(input, 'b'));
    await watched.handedOver('photos/in/b');
    await watched.passed();
    expect([watched.count('photos/in/a'), watched.count('photos/in/b')]).toEqual([2, 1]);
  });

  test('that is removed before it settles never counts', async () => {
    await writeFile(join(input, 'gone'), 'x');
    await unlink(join(input, 'gone'));
    await watched.passed();
    expect(watched.keys()).not.toContain('photos/in/gone');
  });

  test('with an odd name counts as any other', async () => {
    const names = [
      'two words',
      'a+b%20c%2Fd.txt',
      'grüße-😀.txt',
      'e\u0301 decomposed',
      'new\nline\ttab',
      '"quotes\'and`back',
      '-rf',
      '~',
      'x (deleted)',
      `${'l'.repeat(251)}.txt`,
    ];
    for (const name of names) await writeFile(join(input, name), name);
    for (const name of names) {
      const { object } = await watched.handedOver(`photos/in/${name}`);
      expect(object.size).toBe(Buffer.byteLength(name));
    }
    await watched.passed();
    expect(watched.others().length).toBe(names.length);
  });

  test.runIf(linux)('whose name is not UTF-8 is left alone', async () => {
    const path = Buffer.concat([Buffer.from(`${input}/`), Buffer.from([0xff, 0xfe, 0x41])]);
    await writeFile(path, 'x');
    await watched.passed();
    expect(watched.others()).toEqual([]);
  });
});

describe('not handed over', () => {
  test('names that begin with a dot, and what is below them', async () => {
    await writeFile(join(input, '.hidden'), 'x');
    await mkdir(join(input, '.cache/sub'), { recursive: true });
    await writeFile(join(input, '.cache/sub/file'), 'x');
    await watched.passed();
    await writeFile(join(input, '.cache/sub/file2'), 'x');
    // As rsync writes: under a temporary name first.
    await writeFile(join(input, '.a.txt.Xy12'), 'x');
    await rename(join(input, '.a.txt.Xy12'), join(input, 'a.txt'));
    await watched.handedOver('photos/in/a.txt');
    await watched.passed();
    expect(watched.others()).toEqual(['photos/in/a.txt']);
  });

  test('links, FIFOs and sockets; nothing hangs on them', async () => {
    await symlink(join(input, 'old.txt'), join(input, 'link'));
    await symlink(outside, join(input, 'folder-link'));
    execFileSync('mkfifo', [join(input, 'pipe')]);
    await writeFile(join(outside, 'secret'), 'x');
    await watched.passed();
    expect(watched.others()).toEqual([]);
  });

  test('what lies beside the input folders', async () => {
    await mkdir(join(folders.buckets, 'photos/out'));
    await writeFile(join(folders.buckets, 'photos/out/a'), 'x');
    await writeFile(join(folders.buckets, 'photos/readme'), 'x');
    await mkdir(join(folders.buckets, 'other-bucket/in'), { recursive: true });
    await writeFile(join(folders.buckets, 'other-bucket/in/a'), 'x');
    await watched.passed();
    expect(watched.others()).toEqual([]);
  });
});

describe('folders', () => {
  test('that appear are watched, at any depth', async () => {
    await mkdir(join(input, 'a/b/c'), { recursive: true });
    await writeFile(join(input, 'a/b/c/first'), 'x');
    await watched.handedOver('photos/in/a/b/c/first');
    await writeFile(join(input, 'a/b/second'), 'x');
    await watched.handedOver('photos/in/a/b/second');
    await watched.passed();
    expect(watched.others().length).toBe(2);
  });

  test('that are moved in bring their content, old files too', async () => {
    await mkdir(join(outside, 'set/sub'), { recursive: true });
    for (const name of ['one', 'sub/two']) {
      await writeFile(join(outside, 'set', name), name);
      await utimes(join(outside, 'set', name), 1000, 1000);
    }
    await rename(join(outside, 'set'), join(input, 'set'));
    await watched.handedOver('photos/in/set/one');
    await watched.handedOver('photos/in/set/sub/two');
    await rename(join(input, 'set'), join(input, 'renamed'));
    await watched.handedOver('photos/in/renamed/sub/two');
    await writeFile(join(input, 'renamed/sub/three'), 'x');
    await watched.handedOver('photos/in/renamed/sub/three');
    await watched.passed();
    expect(watched.count('photos/in/set/one')).toBe(1);
  });

  test('that are moved out are forgotten', async () => {
    await mkdir(join(input, 'set'));
    await writeFile(join(input, 'set/one'), 'x');
    await watched.handedOver('photos/in/set/one');
    await rename(join(input, 'set'), join(outside, 'set'));
    await watched.passed();
    await writeFile(join(outside, 'set/two'), 'x');
    await watched.passed();
    expect(watched.others()).toEqual(['photos/in/set/one']);
  });

  test('the input folder itself may be removed and made again, also at once', async () => {
    for (const round of [1, 2, 3]) {
      await rm(input, { recursive: true });
      await mkdir(input);
      await writeFile(join(input, `round-${round}`), 'x');
      await watched.handedOver(`photos/in/round-${round}`);
      await writeFile(join(input, `after-${round}`), 'x');
      await watched.handedOver(`photos/in/after-${round}`);
    }
    await watched.passed();
    expect(watched.others().length).toBe(6);
  });

  test('a bucket may be removed and made again', async () => {
    await rm(join(folders.buckets, 'photos'), { recursive: true });
    await mkdir(input, { recursive: true });
    await writeFile(join(input, 'a'), 'x');
    expect((await watched.handedOver('photos/in/a')).object.size).toBe(1);
  });

  test('on the way to an input folder may come later, or with all that is in them', async () => {
    await mkdir(join(folders.buckets, 'photos/later'));
    await watched.passed();
    await mkdir(join(folders.buckets, 'photos/later/deep'));
    await writeFile(join(folders.buckets, 'photos/later/deep/a'), 'x');
    await watched.handedOver('photos/later/deep/a');
    await mkdir(join(outside, 'bucket/x'), { recursive: true });
    await writeFile(join(outside, 'bucket/x/b'), 'x');
    await rename(join(outside, 'bucket'), join(folders.buckets, 'whole-bucket'));
    await watched.handedOver('whole-bucket/x/b');
    await watched.passed();
    expect(watched.others()).toEqual(['photos/later/deep/a', 'whole-bucket/x/b']);
  });

  test('of a service that is gone are not watched any more, of a new one are', async () => {
    await watched.source.setPrefixes([{ bucket: 'photos', prefix: 'later/deep/' }]);
    await writeFile(join(input, 'unwanted'), 'x');
    const later = join(folders.buckets, 'photos/later/deep');
    await mkdir(later, { recursive: true });
    await writeFile(join(later, 'a'), 'x');
    await watched.handedOver('photos/later/deep/a');
    expect(watched.keys()).toEqual(['photos/later/deep/a']);
    await watched.source.setPrefixes([{ bucket: 'photos', prefix: 'in/' }]);
    await writeFile(join(input, 'wanted'), 'x');
    await watched.handedOver('photos/in/wanted');
    expect(watched.count('photos/in/unwanted')).toBe(0);
  });
});

describe.runIf(linux)('a file that is being written', () => {
  test('by another process, with pauses longer than the settle time, is handed over whole and once', async () => {
    const path = join(input, 'slow.bin');
    const writer = spawn('sh', ['-c', 'cat > "$0"', path], { stdio: ['pipe', 'ignore', 'inherit'] });
    for (const part of ['one,', 'two,', 'three']) {
      writer.stdin.write(part);
      await eventually('the part is there', async () =>
        (await readFile(path, 'utf8').catch(() => '')).endsWith(part),
      );
      // Two others settle meanwhile, one after the other.
      await watched.passed();
      await watched.passed();
      expect(watched.count('photos/in/slow.bin')).toBe(0);
    }
    writer.stdin.end();
    await once(writer, 'exit');
    const { object } = await watched.handedOver('photos/in/slow.bin');
    expect(object.size).toBe('one,two,three'.length);
    await watched.passed();
    expect(watched.count('photos/in/slow.bin')).toBe(1);
  });

  test('counts as not ready in a listing, and is handed over once it is', async () => {
    const handle = await open(join(input, 'old.txt'), 'r+');
    await mkdir(join(input, 'sub'));
    await writeFile(join(input, 'sub/free'), 'x');
    await watched.handedOver('photos/in/sub/free');
    const listed = await folders.objects.list('photos', { prefix: 'in/', limit: 10 });
    expect(await watched.source.ready?.(listed.objects)).toEqual([false, true]);
    await watched.passed();
    expect(watched.count('photos/in/old.txt')).toBe(0);
    await handle.close();
    await watched.handedOver('photos/in/old.txt');
    expect(await watched.source.ready?.(listed.objects)).toEqual([true, true]);
  });

  test('for reading does not wait', async () => {
    await writeFile(join(input, 'a'), 'x');
    const handle = await open(join(input, 'a'), 'r');
    expect((await watched.handedOver('photos/in/a')).object.size).toBe(1);
    await handle.close();
  });
});
