import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { writeError } from '../../src/adapters/folder-errors.ts';
import type { FolderObjectStore } from '../../src/adapters/folder-object-store.ts';
import type { ObjectInfo } from '../../src/stores/index.ts';
import {
  failureOf,
  listKeys,
  makeFolder,
  openFolderFixture,
  strays,
  type FolderFixture,
} from './folder-fixture.ts';

const bucket = 'photos';

/** A small file system of its own, or why there can't be one (rights of the container, not Linux). */
async function mountSmall(bytes: number): Promise<{ path: string } | { reason: string }> {
  if (process.platform !== 'linux') return { reason: 'only Linux has tmpfs' };
  const path = await makeFolder();
  onTestFinished(async () => {
    spawnSync('umount', ['-l', path]);
    await rm(path, { recursive: true });
  });
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], {
    encoding: 'utf8',
  });
  return status === 0 ? { path } : { reason: stderr.trim() };
}

async function open(folders: string): Promise<FolderFixture> {
  const root = await makeFolder();
  const fixture = await openFolderFixture({ root, folders });
  onTestFinished(async () => {
    await fixture.close();
    await rm(root, { recursive: true });
  });
  await fixture.store.createBucket(bucket, {});
  return fixture;
}

/** What there is to see of an error where the disk can't be made to give it. */
function mapped(code: string): unknown {
  return writeError(Object.assign(new Error(code), { code }), 'write the object');
}

async function everyObject(store: FolderObjectStore): Promise<ObjectInfo[]> {
  const all: ObjectInfo[] = [];
  for (let after: string | undefined; ;) {
    const page = await store.list(bucket, {
      prefix: '',
      limit: 1000,
      ...(after === undefined ? {} : { after }),
    });
    all.push(...page.objects);
    if (page.next === undefined) return all;
    after = page.next;
  }
}

describe('a full disk', () => {
  it('stores nothing and says so; what is freed can be used again', async () => {
    const disk = await mountSmall(3_000_000);
    if ('reason' in disk) {
      console.info(
        `full disk: only the mapping of its error is checked here, since no tmpfs can be mounted: ${disk.reason}`,
      );
      expect(mapped('ENOSPC')).toMatchObject({ code: 'storage_full', retry: 'later' });
      return;
    }
    const { store, temp } = await open(disk.path);
    await store.put(bucket, 'k', Buffer.alloc(1_000_000, 'a'));
    for (const body of [
      Buffer.alloc(2_500_000),
      Readable.from([Buffer.alloc(1_000_000), Buffer.alloc(1_500_000)]),
    ]) {
      const error = await failureOf(store.put(bucket, 'k', body, { metadata: { a: 'b' } }));
      expect(error).toMatchObject({ code: 'storage_full', retry: 'later' });
      expect(error.message).toContain('the disk is full');
      expect(await strays(temp)).toEqual([]);
    }
    const { info, body } = await store.get(bucket, 'k');
    expect((await buffer(body)).equals(Buffer.alloc(1_000_000, 'a'))).toBe(true);
    expect(info.metadata).toEqual({});
    await store.put(bucket, 'small', Buffer.alloc(1_500_000));
    await store.remove(bucket, 'k');
    await store.put(bucket, 'k', Buffer.alloc(1_200_000));
    expect(await listKeys(store, bucket)).toEqual(['k', 'small']);
    expect(await store.now()).toBeGreaterThan(0);
  });
});

describe('a folder that cannot be written', () => {
  it('fails clearly, and still gives what it has', async () => {
    const disk = await mountSmall(3_000_000);
    if ('reason' in disk && process.getuid?.() === 0) {
      console.info(
        `read-only folder: only the mapping of its errors is checked here, since no tmpfs can be mounted: ${disk.reason}`,
      );
      for (const code of ['EROFS', 'EACCES', 'EPERM'])
        expect(mapped(code)).toMatchObject({ code: 'unavailable', retry: 'later' });
      return;
    }
    const folders = 'path' in disk ? disk.path : await makeFolder();
    const { store, buckets, temp } = await open(folders);
    await store.put(bucket, 'k', Buffer.from('x'));
    const close = async (): Promise<() => Promise<void>> => {
      if ('path' in disk) {
        spawnSync('mount', ['-o', 'remount,ro', disk.path]);
        return async () => void spawnSync('mount', ['-o', 'remount,rw', disk.path]);
      }
      for (const path of [buckets, join(buckets, bucket)]) await chmod(path, 0o555);
      return async () => {
        for (const path of [buckets, join(buckets, bucket)]) await chmod(path, 0o755);
      };
    };
    await store.setBucketTags(bucket, { owner: 'me' });
    const reopen = await close();
    for (const attempt of [
      async () => store.put(bucket, 'k', Buffer.from('y')),
      async () => store.put(bucket, 'new/k', Buffer.from('y'), { ifNoneMatch: '*' }),
      async () => store.put(bucket, 'folder/', Buffer.alloc(0)),
      async () => store.remove(bucket, 'k'),
      async () => store.createBucket('another', {}),
      async () => store.deleteBucket(bucket),
      async () => store.check(),
    ]) {
      const error = await failureOf(attempt());
      expect(error).toMatchObject({ code: 'unavailable', retry: 'later' });
      expect(error.message).toContain('not writable');
    }
    expect((await buffer((await store.get(bucket, 'k')).body)).toString()).toBe('x');
    expect(await listKeys(store, bucket)).toEqual(['k']);
    expect((await store.getBucket(bucket))?.tags).toEqual({ owner: 'me' });
    await reopen();
    expect(await strays(temp)).toEqual([]);
    await store.put(bucket, 'k', Buffer.from('y'));
    await store.check();
    if (!('path' in disk)) await rm(folders, { recursive: true });
  });
});

describe('folders on two file systems', () => {
  it('are refused at the start, with what to do', async () => {
    const disk = await mountSmall(1_000_000);
    if ('reason' in disk) {
      console.info(
        `two file systems: only the mapping of the error is checked here, since no tmpfs can be mounted: ${disk.reason}`,
      );
      expect(mapped('EXDEV')).toMatchObject({ code: 'unavailable' });
      return;
    }
    const root = await makeFolder();
    onTestFinished(async () => rm(root, { recursive: true }));
    const error = await failureOf(openFolderFixture({ root, temp: join(disk.path, 'tmp') }));
    expect(error.code).toBe('unavailable');
    expect(error.message).toContain('different file systems');
    expect(await readdir(join(disk.path, 'tmp'))).toEqual(['clock']);
  });

  it('that appear below a bucket later fail clearly', async () => {
    const fixture = await open(await makeFolder());
    onTestFinished(async () => rm(join(fixture.buckets, '..'), { recursive: true, force: true }));
    const disk = await mountSmall(1_000_000);
    if ('reason' in disk) {
      expect(mapped('EXDEV')).toMatchObject({ code: 'unavailable' });
      return;
    }
    const inside = join(fixture.buckets, bucket, 'mounted');
    await mkdir(inside);
    expect(spawnSync('mount', ['--bind', disk.path, inside]).status).toBe(0);
    try {
      const error = await failureOf(fixture.store.put(bucket, 'mounted/k', Buffer.from('x')));
      expect(error.code).toBe('unavailable');
      expect(error.message).toContain('another file system');
      expect(
        (await failureOf(fixture.store.put(bucket, 'mounted/k', Buffer.from('x'), { ifNoneMatch: '*' })))
          .code,
      ).toBe('unavailable');
      expect(await strays(fixture.temp)).toEqual([]);
    } finally {
      spawnSync('umount', [inside]);
    }
  });
});

describe('kill -9 during uploads', () => {
  it('leaves every acknowledged object whole, no half one, and no stray file after the next start', async () => {
    const root = await makeFolder();
    onTestFinished(async () => rm(root, { recursive: true }));
    const acknowledged = new Map<string, string>();
    let left = 0;
    for (let round = 0; round < 4; round += 1) {
      for (const [key, etag] of await killedRound(root, round, 40 + round * 17)) acknowledged.set(key, etag);
      left += (await strays(join(root, 'tmp'))).length;
    }
    // Else the kills hit nothing.
    expect(left).toBeGreaterThan(0);

    const fixture = await openFolderFixture({ root });
    expect(await strays(fixture.temp)).toEqual([]);
    const objects = await everyObject(fixture.store);
    const found = new Map(objects.map((object) => [object.key, object.etag]));
    for (const [key, etag] of acknowledged) expect(found.get(key), key).toBe(etag);
    for (const { key, size } of objects) {
      const [, expectedSize, letter = ''] = /-(\d+)-([a-z])$/.exec(key) ?? [];
      expect(size, key).toBe(Number(expectedSize));
      const { info, body } = await fixture.store.get(bucket, key);
      expect(info.metadata, key).toEqual({ letter });
      expect((await buffer(body)).equals(Buffer.alloc(size, letter)), key).toBe(true);
    }
    // Nothing but files and folders: the link of an unfinished `ifNoneMatch` is a whole object with two names.
    await fixture.store.pruneRecords();
    expect(await fixture.index.list(undefined, 10_000)).toHaveLength(objects.length);
    for (const { key } of objects.slice(0, 20))
      expect((await stat(join(fixture.buckets, bucket, key))).nlink).toBe(1);
    await fixture.close();
  }, 60_000);
});

/** Runs the child until it has acknowledged so many objects, then kills it; gives what it acknowledged. */
async function killedRound(root: string, round: number, enough: number): Promise<Map<string, string>> {
  const script = fileURLToPath(new URL('./folder-kill-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, root, `r${round}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  const errors = buffer(child.stderr);
  let text = '';
  let killed = false;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (killed || text.split('\n').length <= enough) return;
    killed = true;
    child.kill('SIGKILL');
  });
  const signal = await new Promise((resolve) => {
    child.on('close', (_code, signal) => {
      resolve(signal);
    });
  });
  expect(signal, (await errors).toString()).toBe('SIGKILL');
  const lines = text.split('\n').slice(0, -1);
  return new Map(lines.map((line) => line.split(' ') as [string, string]));
}

describe('a temporary folder that somebody removed', () => {
  it('is made again for the next upload, deletion and look at the clock', async () => {
    const { store, temp } = await open(await makeFolder());
    await rm(temp, { recursive: true });
    await store.put(bucket, 'k', Buffer.from('x'));
    expect(await listKeys(store, bucket)).toEqual(['k']);
    await rm(temp, { recursive: true });
    expect(await store.now()).toBeGreaterThan(0);
    await rm(temp, { recursive: true });
    await store.deleteBucket(bucket);
    expect(await store.getBucket(bucket)).toBeUndefined();
  });

  it('is missed where the folder around it is gone too', async () => {
    const folders = await makeFolder();
    const { store } = await open(folders);
    await rm(folders, { recursive: true });
    expect(await failureOf(store.now())).toMatchObject({ code: 'unavailable', retry: 'later' });
  });
});
