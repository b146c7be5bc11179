import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAppError } from '../../src/errors/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { createDirectories } from '../../src/adapters/folder-directory.ts';
import { unlessCode } from '../../src/adapters/folder-errors.ts';
import {
  failureOf,
  listKeys,
  makeFolder,
  openFolderFixture,
  strays,
  type FolderFixture,
} from './folder-fixture.ts';

const bucket = 'photos';
let fixture: FolderFixture;
let outside: string;

beforeEach(async () => {
  fixture = await openFolderFixture();
  await fixture.store.createBucket(bucket, {});
  outside = await makeFolder();
  await writeFile(join(outside, 'secret.txt'), 'secret');
  await mkdir(join(outside, 'sub'));
  await writeFile(join(outside, 'sub', 'secret.txt'), 'secret');
});
afterEach(async () => {
  await fixture.close();
  await rm(outside, { recursive: true });
});

function inBucket(...parts: string[]): string {
  return join(fixture.buckets, bucket, ...parts);
}

/** Nothing came into the folder outside, and what was there is as it was. */
async function expectOutsideUntouched(): Promise<void> {
  expect((await readdir(outside, { recursive: true })).sort()).toEqual([
    'secret.txt',
    'sub',
    join('sub', 'secret.txt'),
  ]);
  for (const path of ['secret.txt', join('sub', 'secret.txt')]) {
    expect(await readFile(join(outside, path), 'utf8')).toBe('secret');
  }
}

/** Each way to an object; none may reach what the key leads to. */
async function expectUnreachable(key: string): Promise<void> {
  const { store } = fixture;
  expect(await store.head(bucket, key)).toBeUndefined();
  expect((await failureOf(store.get(bucket, key))).code).toBe('not_found');
  await store.remove(bucket, key);
  for (const options of [{}, { ifNoneMatch: '*' as const }]) {
    const error = await failureOf(store.put(bucket, key, Buffer.from('x'), options));
    expect(['invalid_input', 'precondition_failed']).toContain(error.code);
  }
  expect(await listKeys(store, bucket)).toEqual([]);
  expect(await listKeys(store, bucket, key)).toEqual([]);
  expect(await store.usage(bucket, 10)).toEqual({ bytes: 0, objects: 0, complete: true });
  expect(await strays(fixture.temp)).toEqual([]);
  await expectOutsideUntouched();
}

describe('links', () => {
  it.each([
    ['a file outside', () => join(outside, 'secret.txt')],
    ['a file that does not exist yet', () => join(outside, 'new.txt')],
    ['a relative path upwards', () => '../../system/x'],
    ['the file system', () => '/etc/hostname'],
  ])('to %s is no object and is not written through', async (_what, target) => {
    await symlink(target(), inBucket('link'));
    await expectUnreachable('link');
    expect(await readlink(inBucket('link'))).toBe(target());
  });

  it('to a file in the same bucket is no object either', async () => {
    await writeFile(inBucket('real'), 'x');
    await symlink('real', inBucket('link'));
    expect(await listKeys(fixture.store, bucket)).toEqual(['real']);
    expect(await fixture.store.head(bucket, 'link')).toBeUndefined();
  });

  it.each(['secret.txt', 'new.txt', 'deep/new.txt', 'sub/secret.txt', 'sub/new.txt'])(
    'to a folder is not entered (%s)',
    async (name) => {
      await symlink(outside, inBucket('folder'));
      await expectUnreachable(`folder/${name}`);
      await mkdir(inBucket('sub'));
      await symlink(outside, inBucket('sub', 'folder'));
      await expectUnreachable(`sub/folder/${name}`);
      expect(await readdir(inBucket('sub'))).toEqual(['folder']);
    },
  );

  it('to a folder makes no folder marker and loses none', async () => {
    await symlink(outside, inBucket('folder'));
    expect(await fixture.store.head(bucket, 'folder/')).toBeUndefined();
    expect((await failureOf(fixture.store.put(bucket, 'folder/', Buffer.alloc(0)))).code).toBe(
      'invalid_input',
    );
    await fixture.store.remove(bucket, 'folder/');
    await expectOutsideUntouched();
  });

  it('in the place of a bucket is no bucket', async () => {
    const { store } = fixture;
    await symlink(outside, join(fixture.buckets, 'linked'));
    expect(await store.getBucket('linked')).toBeUndefined();
    expect((await store.listBuckets({ limit: 10 })).items.map((item) => item.name)).toEqual([bucket]);
    for (const attempt of [
      async () => store.get('linked', 'secret.txt'),
      async () => store.head('linked', 'secret.txt'),
      async () => store.put('linked', 'x', Buffer.from('x')),
      async () => store.remove('linked', 'secret.txt'),
      async () => store.list('linked', { prefix: '', limit: 10 }),
      async () => store.usage('linked', 10),
      async () => store.deleteBucket('linked'),
      async () => store.setBucketTags('linked', {}),
    ]) {
      expect((await failureOf(attempt())).code).toBe('not_found');
    }
    expect((await failureOf(store.createBucket('linked', {}))).code).toBe('conflict');
    await expectOutsideUntouched();
  });

  it('are removed with their bucket, and not what they lead to', async () => {
    await symlink(outside, inBucket('folder'));
    await symlink(join(outside, 'secret.txt'), inBucket('file'));
    await mkdir(inBucket('sub'));
    await symlink(outside, inBucket('sub', 'folder'));
    await fixture.store.deleteBucket(bucket);
    await expectOutsideUntouched();
    expect(await readdir(fixture.buckets)).toEqual([]);
    expect(await strays(fixture.temp)).toEqual([]);
  });

  it('that are swapped in at any moment lead nowhere', async () => {
    const { store } = fixture;
    await mkdir(inBucket('hot', 'sub'), { recursive: true });
    await writeFile(inBucket('hot', 'secret.txt'), 'inside');
    await writeFile(inBucket('hot', 'sub', 'secret.txt'), 'inside');
    const state = { swapping: true };
    let swaps = 0;
    const swap = async (): Promise<void> => {
      while (state.swapping) {
        await rename(inBucket('hot'), inBucket('cold'));
        // A `put` may make the folder anew, at each of these points.
        const linked = await unlessCode(['EEXIST'], async () =>
          symlink(outside, inBucket('hot')).then(() => true),
        );
        if (linked === true) {
          swaps += 1;
          await unlink(inBucket('hot'));
        }
        const back = async (): Promise<true> => rename(inBucket('cold'), inBucket('hot')).then(() => true);
        while ((await unlessCode(['ENOTEMPTY', 'EEXIST'], back)) !== true) {
          await rm(inBucket('hot'), { recursive: true, force: true, maxRetries: 100 });
        }
      }
    };
    const outcomes = { done: 0, refused: 0 };
    const hit = async (at: number): Promise<void> => {
      const folder = at % 8 < 4 ? 'hot' : 'hot/sub';
      try {
        if (at % 4 === 0) await store.put(bucket, `${folder}/new-${at}`, Buffer.from('x'));
        else if (at % 4 === 1) await store.remove(bucket, `${folder}/secret.txt`);
        else if (at % 4 === 2) await listKeys(store, bucket, `${folder}/`);
        else
          expect((await buffer((await store.get(bucket, `${folder}/secret.txt`)).body)).toString()).toBe(
            'inside',
          );
        outcomes.done += 1;
      } catch (error) {
        // The folder was just not there, or a link stood in its place.
        if (!isAppError(error)) throw error;
        outcomes.refused += 1;
      }
    };
    const hammer = async (): Promise<void> => {
      try {
        for (let at = 0; at < 1200; at += 4)
          await Promise.all([hit(at), hit(at + 1), hit(at + 2), hit(at + 3)]);
      } finally {
        state.swapping = false;
      }
    };
    await Promise.all([swap(), hammer()]);
    await expectOutsideUntouched();
    expect(outcomes.done).toBeGreaterThan(0);
    expect(swaps).toBeGreaterThan(10);
    expect(await strays(fixture.temp)).toEqual([]);
  });
});

describe('where descriptors cannot be looked up (macOS)', () => {
  it('links are found by resolving paths', async () => {
    const directories = await createDirectories(systemClock, 'path');
    await mkdir(inBucket('sub', 'deep'), { recursive: true });
    await symlink(outside, inBucket('folder'));
    await symlink(inBucket('sub'), inBucket('inner'));
    const look = async (...parts: string[]): Promise<string> => {
      const opened = await directories.open(fixture.buckets, parts);
      if (typeof opened === 'string') return opened;
      await opened.sync();
      await opened.release();
      return opened.self;
    };
    expect(await look(bucket, 'sub', 'deep')).toBe(inBucket('sub', 'deep'));
    expect(await look(bucket, 'folder')).toBe('blocked');
    expect(await look(bucket, 'folder', 'sub')).toBe('blocked');
    expect(await look(bucket, 'inner', 'deep')).toBe('blocked');
    expect(await look(bucket, 'nothing')).toBe('absent');
    const made = await directories.make(fixture.buckets, [bucket, 'a', 'b'], 1);
    if (typeof made === 'string') throw new Error(made);
    expect(made.path('x')).toBe(inBucket('a', 'b', 'x'));
    await made.release();
    expect(await directories.make(fixture.buckets, [bucket, 'folder', 'b'], 1)).toBe('blocked');
    expect(await directories.make(fixture.buckets, [bucket, 'folder', 'sub', 'b'], 1)).toBe('blocked');
    expect(await directories.make(fixture.buckets, ['nobucket', 'b'], 1)).toBe('absent');
    await expectOutsideUntouched();
  });
});

describe('what is no regular file', () => {
  it('a FIFO blocks nobody', async () => {
    expect(spawnSync('mkfifo', [inBucket('pipe')]).status).toBe(0);
    await expectUnreachable('pipe');
    await expectUnreachable('pipe/x');
  });

  it('a socket is no object', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(inBucket('socket'), resolve);
    });
    await expectUnreachable('socket');
    expect((await lstat(inBucket('socket'))).isSocket()).toBe(true);
    await new Promise((resolve) => {
      server.close(resolve);
    });
  });

  it('a device, or where we may not make one another odd file, is no object', async () => {
    // Without the right to make devices, a FIFO that nobody may read stands in.
    const made = spawnSync('mknod', [inBucket('odd'), 'c', '1', '5']).status === 0;
    if (!made) expect(spawnSync('mkfifo', ['-m', '000', inBucket('odd')]).status).toBe(0);
    await expectUnreachable('odd');
    expect((await lstat(inBucket('odd'))).isCharacterDevice()).toBe(made);
  });
});

describe('names', () => {
  it('that are not UTF-8 are skipped, with one warning for a listing, and go with their bucket', async () => {
    const broken = Buffer.concat([Buffer.from(`${inBucket()}/bad-`), Buffer.from([0xff, 0xfe])]);
    try {
      await writeFile(broken, 'x');
    } catch (error) {
      // APFS takes UTF-8 only: there is nothing to skip then.
      expect(error).toMatchObject({ code: 'EILSEQ' });
      return;
    }
    await mkdir(Buffer.concat([broken, Buffer.from('-folder')]));
    await writeFile(Buffer.concat([broken, Buffer.from('-folder/in')]), 'x');
    await writeFile(inBucket('bad-\ufffd\ufffd'), 'this one is real');
    await writeFile(inBucket('good'), 'x');
    expect(await listKeys(fixture.store, bucket)).toEqual(['bad-\ufffd\ufffd', 'good']);
    expect(fixture.logged).toHaveLength(1);
    expect(fixture.logged[0]).toMatchObject({ level: 40, bucket });
    await fixture.store.deleteBucket(bucket);
    expect(await readdir(fixture.buckets)).toEqual([]);
    expect(await strays(fixture.temp)).toEqual([]);
  });

  it('of files whose key would be over 1024 bytes are skipped', async () => {
    const part = 'p'.repeat(250);
    await mkdir(inBucket(part, part, part, part), { recursive: true });
    await writeFile(inBucket(part, part, part, part, 'f'.repeat(20)), 'fits');
    await writeFile(inBucket(part, part, part, part, 'f'.repeat(21)), 'is too long');
    const long = [part, part, part, part, 'f'.repeat(20)].join('/');
    expect(Buffer.byteLength(long)).toBe(1024);
    expect(await listKeys(fixture.store, bucket)).toEqual([long]);
    expect((await buffer((await fixture.store.get(bucket, long)).body)).toString()).toBe('fits');
  });

  it('of folders and files do not stand for each other', async () => {
    const { store } = fixture;
    await store.put(bucket, 'file', Buffer.from('x'));
    await store.put(bucket, 'folder/in', Buffer.from('x'));
    for (const key of ['file/in', 'file/in/deeper', 'folder', 'file/']) {
      expect(await failureOf(store.put(bucket, key, Buffer.alloc(0))), key).toMatchObject({
        code: 'invalid_input',
        field: 'key',
      });
      expect(await store.head(bucket, key)).toBeUndefined();
      expect((await failureOf(store.get(bucket, key))).code).toBe('not_found');
      await store.remove(bucket, key);
    }
    expect(await listKeys(store, bucket)).toEqual(['file', 'folder/in']);
    expect(await strays(fixture.temp)).toEqual([]);
  });

  it('of folders in the root that are no bucket names are left out', async () => {
    await mkdir(join(fixture.buckets, 'Not_A_Bucket'));
    await mkdir(join(fixture.buckets, 'sluice-system'));
    await mkdir(join(fixture.buckets, 'by-hand'));
    await writeFile(join(fixture.buckets, 'just-a-file'), '');
    const { items } = await fixture.store.listBuckets({ limit: 10 });
    expect(items.map(({ name, tags }) => ({ name, tags }))).toEqual([
      { name: 'by-hand', tags: {} },
      { name: bucket, tags: {} },
    ]);
    // The folder by that name in the root is not the system bucket.
    expect(await listKeys(fixture.store, 'sluice-system')).toEqual([]);
    await fixture.store.put('sluice-system', 'k', Buffer.from('x'));
    expect(await readdir(join(fixture.buckets, 'sluice-system'))).toEqual([]);
    expect(await readdir(fixture.system)).toEqual(['k']);
  });
});

describe('a file that was written with rights for nobody', () => {
  it('is listed, and reading it fails clearly unless we may read everything', async () => {
    await writeFile(inBucket('closed'), 'x');
    await chmod(inBucket('closed'), 0o000);
    expect(await listKeys(fixture.store, bucket)).toEqual(['closed']);
    if (process.getuid?.() === 0) {
      expect((await buffer((await fixture.store.get(bucket, 'closed')).body)).toString()).toBe('x');
    } else {
      const error = await failureOf(fixture.store.get(bucket, 'closed'));
      expect(error.code).toBe('unavailable');
      expect(error.message).toContain('not readable');
    }
    expect((await lstat(inBucket('closed'))).mode & 0o777).toBe(0);
    expect((await stat(inBucket('closed'))).size).toBe(1);
  });
});
