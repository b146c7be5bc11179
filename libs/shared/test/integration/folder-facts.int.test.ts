import { execFileSync } from 'node:child_process';
import {
  appendFile,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ObjectWritten } from '../../src/adapters/folder-object-store.ts';
import { createTempFiles } from '../../src/adapters/folder-temp.ts';
import { AppError } from '../../src/errors/index.ts';
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

beforeEach(async () => {
  fixture = await openFolderFixture();
  await fixture.store.createBucket(bucket, {});
});
afterEach(async () => {
  await fixture.close();
});

function inBucket(...parts: string[]): string {
  return join(fixture.buckets, bucket, ...parts);
}

async function textOf(key: string): Promise<string> {
  return (await buffer((await fixture.store.get(bucket, key)).body)).toString();
}

describe('files put in by hand', () => {
  it('are objects, typed by their extension', async () => {
    await mkdir(inBucket('in'));
    await writeFile(inBucket('in', 'a.JPG'), 'x');
    await writeFile(inBucket('in', 'b'), 'y');
    const { objects } = await fixture.store.list(bucket, { prefix: '', limit: 10 });
    expect(objects.map((object) => object.key)).toEqual(['in/a.JPG', 'in/b']);
    expect(await fixture.store.head(bucket, 'in/a.JPG')).toEqual({
      ...objects[0],
      contentType: 'image/jpeg',
      metadata: {},
    });
    expect((await fixture.store.head(bucket, 'in/b'))?.contentType).toBe('application/octet-stream');
  });

  it('arrive now, however old they say they are', async () => {
    const source = join(fixture.root, 'old.txt');
    await writeFile(source, 'x');
    await utimes(source, 1000, 1000);
    const now = await fixture.store.now();
    execFileSync('cp', ['-p', source, inBucket('copied')]);
    await rename(source, inBucket('moved'));
    for (const key of ['copied', 'moved']) {
      const head = await fixture.store.head(bucket, key);
      expect(head?.lastModified).toBe(1_000_000);
      expect(head?.changedAt).toBeGreaterThan(now);
    }
  });

  it('lose the metadata of the object that they replace', async () => {
    await fixture.store.put(bucket, 'k', Buffer.from('1'), { metadata: { a: 'b' }, contentType: 'x/y' });
    await writeFile(inBucket('k'), '22');
    expect(await fixture.store.head(bucket, 'k')).toMatchObject({
      metadata: {},
      contentType: 'application/octet-stream',
    });
    expect(await fixture.store.pruneRecords()).toBe(1);
  });

  it('may be swapped for a new bucket, which knows nothing of the old tags after a deletion', async () => {
    await fixture.store.setBucketTags(bucket, { owner: 'x' });
    await fixture.store.deleteBucket(bucket);
    await mkdir(inBucket());
    expect((await fixture.store.getBucket(bucket))?.tags).toEqual({});
  });

  it('are found in a folder that was just listed', async () => {
    for (let at = 0; at < 300; at += 1) await writeFile(inBucket(`a-${at}`), '');
    for (let at = 0; at < 20; at += 1) {
      await writeFile(inBucket(`b-${at}`), '');
      expect(await listKeys(fixture.store, bucket, 'b-')).toHaveLength(at + 1);
    }
  });
});

describe('identity', () => {
  it('is never given twice, though inodes and clock ticks are', async () => {
    const seen = new Set<string>();
    for (let at = 0; at < 300; at += 1) {
      const { identity, etag } = await fixture.store.put(bucket, 'k', Buffer.from('same'));
      seen.add(identity).add(etag);
      if (at % 2 === 0) await fixture.store.remove(bucket, 'k');
    }
    expect(seen.size).toBe(600);
    const many = await Promise.all(
      Array.from({ length: 100 }, async (_, at) =>
        fixture.store.put(bucket, `k${at % 7}`, Buffer.from('same')),
      ),
    );
    expect(new Set(many.map((info) => info.identity)).size).toBe(100);
  });

  it('differs by time alone, within one tick of the clock, too', async () => {
    const temp = createTempFiles(fixture.temp);
    const times = await Promise.all(
      Array.from({ length: 200 }, async () =>
        temp.withBody(Buffer.from('x'), {}, async (file) => {
          const { mtimeNs } = await file.handle.stat({ bigint: true });
          expect(file.stats.mtimeNs).toBe(mtimeNs);
          await unlink(file.path);
          return mtimeNs;
        }),
      ),
    );
    expect(new Set(times).size).toBe(200);
  });
});

describe('records of metadata', () => {
  it('are durable before their object is visible', async () => {
    const visible: string[][] = [];
    const watched = await openFolderFixture({
      wrapIndex: (index) => ({
        ...index,
        put: async (ref, record, current) => {
          await index.put(ref, record, current);
          visible.push(await readdir(join(watched.buckets, bucket)));
          expect(await index.get(ref)).toEqual(record);
        },
      }),
    });
    await watched.store.createBucket(bucket, {});
    await watched.store.put(bucket, 'k', Buffer.from('1'), { metadata: { a: 'b' } });
    await watched.store.put(bucket, 'plain.txt', Buffer.from('1'), { contentType: 'text/plain' });
    expect(visible).toEqual([[]]);
    await watched.close();
  });

  it('that cannot be stored keep the object from appearing', async () => {
    const failing = await openFolderFixture({
      wrapIndex: (index) => ({
        ...index,
        put: async () => {
          throw new AppError('unavailable', 'no database');
        },
      }),
    });
    await failing.store.createBucket(bucket, {});
    expect(
      (await failureOf(failing.store.put(bucket, 'k', Buffer.from('1'), { metadata: { a: 'b' } }))).code,
    ).toBe('unavailable');
    expect(await listKeys(failing.store, bucket)).toEqual([]);
    expect(await strays(failing.temp)).toEqual([]);
    await failing.close();
  });

  it('do not pile up', async () => {
    const { store, index } = fixture;
    for (let at = 0; at < 10; at += 1)
      await store.put(bucket, 'k', Buffer.from('x'), { metadata: { at: String(at) } });
    expect((await index.list(undefined, 100)).length).toBeLessThanOrEqual(2);
    expect((await store.head(bucket, 'k'))?.metadata).toEqual({ at: '9' });
    expect(await store.pruneRecords()).toBe(1);
    expect(await index.list(undefined, 100)).toHaveLength(1);
    await store.remove(bucket, 'k');
    expect(await index.list(undefined, 100)).toEqual([]);
    await store.put(bucket, 'other', Buffer.from('x'), { metadata: { a: 'b' } });
    await store.deleteBucket(bucket);
    expect(await index.list(undefined, 100)).toEqual([]);
  });

  it('are pruned in any number, of buckets that are gone, too', async () => {
    const { store, index } = fixture;
    for (let at = 0; at < 450; at += 1)
      await index.put({ bucket: 'gone-bucket', key: `k${at}`, identity: 'x' }, { metadata: {} }, undefined);
    const kept = await store.put(bucket, 'kept', Buffer.from('x'), { metadata: { a: 'b' } });
    expect(await store.pruneRecords()).toBe(450);
    expect(await store.head(bucket, 'kept')).toEqual(kept);
  });
});

describe('uploads', () => {
  it('do not overwrite a file that appeared by hand meanwhile, where nothing was expected', async () => {
    const body = Readable.from(
      (async function* () {
        yield Buffer.from('from the upload');
        await writeFile(inBucket('k'), 'by hand');
      })(),
    );
    expect((await failureOf(fixture.store.put(bucket, 'k', body, { ifNoneMatch: '*' }))).code).toBe(
      'precondition_failed',
    );
    expect(await textOf('k')).toBe('by hand');
    expect(await strays(fixture.temp)).toEqual([]);
  });

  it('survive that their folder is removed meanwhile', async () => {
    await mkdir(inBucket('in'));
    const body = Readable.from(
      (async function* () {
        yield Buffer.from('x');
        await rm(inBucket('in'), { recursive: true });
      })(),
    );
    await fixture.store.put(bucket, 'in/k', body);
    expect(await textOf('in/k')).toBe('x');
  });

  it('are not acknowledged when their folder is moved away at the last moment', async () => {
    const moving = await openFolderFixture({
      wrapIndex: (index) => ({
        ...index,
        put: async (...entry) => {
          await index.put(...entry);
          await rename(join(moving.buckets, bucket, 'in'), join(moving.buckets, bucket, 'away'));
          await mkdir(join(moving.buckets, bucket, 'in'));
        },
      }),
    });
    await moving.store.createBucket(bucket, {});
    await mkdir(join(moving.buckets, bucket, 'in'));
    const error = await failureOf(
      moving.store.put(bucket, 'in/k', Buffer.from('x'), { metadata: { a: 'b' } }),
    );
    expect(error).toMatchObject({ code: 'unavailable', retry: 'later' });
    expect(await moving.store.head(bucket, 'in/k')).toBeUndefined();
    await moving.close();
  });

  it('into a bucket that was deleted and made again are in the new one', async () => {
    const { store } = fixture;
    for (let round = 0; round < 30; round += 1) {
      // Each of them comes before the deletion, after it, or not at all.
      const before = Promise.allSettled(
        [1, 2, 3, 4].map(async (at) => store.put(bucket, `k${at}`, Buffer.from('x'))),
      );
      await store.deleteBucket(bucket);
      await store.createBucket(bucket, {});
      const info = await store.put(bucket, 'new', Buffer.from('x'));
      expect((await store.head(bucket, 'new'))?.etag).toBe(info.etag);
      for (const result of await before) {
        if (result.status === 'rejected') {
          expect(['not_found', 'unavailable']).toContain(
            (await failureOf(Promise.reject(result.reason))).code,
          );
        }
      }
    }
  });

  it('fail clearly when their bucket is deleted meanwhile', async () => {
    const body = Readable.from(
      (async function* () {
        yield Buffer.from('x');
        await fixture.store.deleteBucket(bucket);
      })(),
    );
    expect((await failureOf(fixture.store.put(bucket, 'in/k', body))).code).toBe('not_found');
    expect(await readdir(fixture.buckets)).toEqual([]);
    expect(await strays(fixture.temp)).toEqual([]);
  });

  it('are refused before their body is read', async () => {
    await fixture.store.put(bucket, 'k', Buffer.from('x'));
    const body = new Readable({
      read() {
        throw new Error('the body was read');
      },
    });
    expect((await failureOf(fixture.store.put(bucket, 'k', body, { ifNoneMatch: '*' }))).code).toBe(
      'precondition_failed',
    );
    expect((await failureOf(fixture.store.put(bucket, 'k/in', body))).code).toBe('invalid_input');
    expect((await failureOf(fixture.store.put('absent', 'k', body))).code).toBe('not_found');
    expect(body.destroyed).toBe(false);
  });

  it('are told to listeners once they are durable', async () => {
    const written: ObjectWritten[] = [];
    const end = fixture.store.onWrite((event) => written.push(event));
    const info = await fixture.store.put(bucket, 'k', Buffer.from('x'), { metadata: { a: 'b' } });
    await fixture.store.put(bucket, 'folder/', Buffer.alloc(0));
    await fixture.store.put('sluice-system', 'k', Buffer.from('x'));
    await failureOf(fixture.store.put(bucket, 'k', Buffer.from('x'), { ifNoneMatch: '*' }));
    end();
    await fixture.store.put(bucket, 'later', Buffer.from('x'));
    expect(written).toEqual([{ info }]);
  });

  it('keep the rights that files get here', async () => {
    await fixture.store.put(bucket, 'k', Buffer.from('x'));
    await writeFile(inBucket('hand'), 'x');
    expect((await stat(inBucket('k'))).mode).toBe((await stat(inBucket('hand'))).mode);
  });
});

describe('reading', () => {
  it('fails when the file is written to meanwhile, and not when it is replaced', async () => {
    await writeFile(inBucket('k'), Buffer.alloc(2_000_000));
    const replaced = await fixture.store.get(bucket, 'k');
    await copyFile(inBucket('k'), inBucket('new'));
    await rename(inBucket('new'), inBucket('k'));
    expect((await buffer(replaced.body)).length).toBe(2_000_000);
    const written = await fixture.store.get(bucket, 'k');
    await appendFile(inBucket('k'), 'more');
    expect((await failureOf(buffer(written.body))).code).toBe('precondition_failed');
    const cut = await fixture.store.get(bucket, 'k');
    await writeFile(inBucket('k'), '');
    expect((await failureOf(buffer(cut.body))).code).toBe('precondition_failed');
  });
});

describe('the start', () => {
  it('removes what a killed process left, and nothing else', async () => {
    const root = await makeFolder();
    await mkdir(join(root, 'tmp', 'trash-0123456789abcdef01234567', 'deep'), { recursive: true });
    await symlink(root, join(root, 'tmp', 'trash-0123456789abcdef01234567', 'link'));
    await writeFile(join(root, 'tmp', 'trash-0123456789abcdef01234567', 'deep', 'x'), '');
    await writeFile(join(root, 'tmp', 'put-0123456789abcdef-17'), 'half');
    await writeFile(join(root, 'tmp', 'notes'), 'mine');
    await mkdir(join(root, 'buckets', bucket), { recursive: true });
    await writeFile(join(root, 'buckets', bucket, 'put-0123456789abcdef-17'), 'an object');
    const again = await openFolderFixture({ root });
    expect(await listKeys(again.store, bucket)).toEqual(['put-0123456789abcdef-17']);
    await again.close();
    expect(await strays(join(root, 'tmp'))).toEqual(['notes']);
    expect(await readFile(join(root, 'tmp', 'notes'), 'utf8')).toBe('mine');
    await rm(root, { recursive: true });
  });

  it('refuses folders that overlap', async () => {
    const root = await makeFolder();
    const error = await failureOf(openFolderFixture({ root, temp: join(root, 'buckets', 'tmp') }));
    expect(error.code).toBe('conflict');
    expect(error.message).toContain('overlap');
    await rm(root, { recursive: true });
  });

  it('refuses a file in the place of a folder', async () => {
    const root = await makeFolder();
    await writeFile(join(root, 'buckets'), '');
    const error = await failureOf(openFolderFixture({ root }));
    expect(error).toMatchObject({ code: 'unavailable' });
    expect(error.message).toContain('not a folder');
    await rm(root, { recursive: true });
  });

  it('leaves nothing in the roots that it tried', async () => {
    expect(await readdir(fixture.buckets)).toEqual([bucket]);
    expect(await readdir(fixture.system)).toEqual([]);
    expect(await strays(fixture.temp)).toEqual([]);
  });
});

describe('check', () => {
  it('fails when a folder is gone', async () => {
    await fixture.store.check();
    await rm(fixture.buckets, { recursive: true });
    const error = await failureOf(fixture.store.check());
    expect(error.code).toBe('unavailable');
    expect(error.message).toContain('is gone');
  });
});
