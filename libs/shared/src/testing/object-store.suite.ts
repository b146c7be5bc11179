import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isAppError, type AppError } from '../errors/index.ts';
import { compareKeys, SYSTEM_BUCKET, type ObjectInfo, type ObjectStore } from '../stores/index.ts';

/** A store under test, on a place of its own or a shared server: the suite's buckets have random names. */
export interface ObjectStoreUnderTest {
  readonly store: ObjectStore;
  close(): Promise<void>;
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (isAppError(error)) return error;
  throw error;
}

function bytes(text: string): Buffer {
  return Buffer.from(text);
}

const oddKeys = [
  'with space',
  'plus+sign',
  'per%20cent',
  '100%',
  'a?b#c&d=e;f',
  'quote\'"',
  'back\\slash',
  'line\nbreak',
  'tab\there',
  'ümläut-nfc-\u00e9',
  'nfd-e\u0301',
  '日本語/ファイル',
  '😀.png',
  '...',
  '.hidden',
  '-rf',
  '~',
  'a..b',
  ' lead',
  'trail ',
  'x'.repeat(255),
  `${'y'.repeat(255)}/${'z'.repeat(255)}`,
  'deep/'.repeat(20).concat('file'),
];

/**
 * What every `ObjectStore` keeps. `make` may give the same server each time.
 * @param name for the test report
 */
export function describeObjectStore(name: string, make: () => Promise<ObjectStoreUnderTest>): void {
  describe(`ObjectStore: ${name}`, () => {
    let tested: ObjectStoreUnderTest;
    let store: ObjectStore;
    let bucket: string;

    beforeAll(async () => {
      tested = await make();
      store = tested.store;
    });
    afterAll(async () => {
      await tested.close();
    });
    beforeEach(async () => {
      bucket = `suite-${randomBytes(8).toString('hex')}`;
      await store.createBucket(bucket, { owner: 'me' });
    });
    afterEach(async () => {
      if ((await store.getBucket(bucket)) !== undefined) await store.deleteBucket(bucket);
    });

    async function textOf(key: string): Promise<string> {
      const { body } = await store.get(bucket, key);
      return (await buffer(body)).toString();
    }

    async function listAll(prefix = '', limit = 1000): Promise<ObjectInfo[]> {
      const all: ObjectInfo[] = [];
      let after: string | undefined;
      for (;;) {
        const page = await store.list(bucket, { prefix, limit, ...(after === undefined ? {} : { after }) });
        expect(page.objects.length).toBeLessThanOrEqual(limit);
        all.push(...page.objects);
        if (page.next === undefined) return all;
        expect(page.next).toBe(page.objects.at(-1)?.key);
        after = page.next;
      }
    }

    async function keys(prefix = '', limit = 1000): Promise<string[]> {
      return (await listAll(prefix, limit)).map((object) => object.key);
    }

    describe('buckets', () => {
      it('are made once, with their tags', async () => {
        expect(await store.createBucket(bucket, { owner: 'other' })).toBe('exists');
        const info = await store.getBucket(bucket);
        expect(info).toMatchObject({ name: bucket, tags: { owner: 'me' } });
        expect(Math.abs((info?.createdAt ?? 0) - (await store.now()))).toBeLessThan(3_600_000);
        await store.setBucketTags(bucket, { owner: 'you', service: 'true' });
        expect((await store.getBucket(bucket))?.tags).toEqual({ owner: 'you', service: 'true' });
      });

      it('are listed by name, in pages', async () => {
        const names = [1, 2, 3].map((at) => `${bucket}-${at}`);
        for (const one of names) expect(await store.createBucket(one, {})).toBe('created');
        const found: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await store.listBuckets({ limit: 2, ...(cursor === undefined ? {} : { cursor }) });
          found.push(...page.items.map((item) => item.name));
          cursor = page.next;
        } while (cursor !== undefined);
        expect(found).toEqual([...found].sort());
        expect(found.filter((one) => one.startsWith(bucket))).toEqual([bucket, ...names]);
        expect(found).not.toContain(SYSTEM_BUCKET);
        for (const one of names) await store.deleteBucket(one);
      });

      it('go with all that is in them, tags included', async () => {
        await store.put(bucket, 'a/b/c', bytes('1'), { metadata: { mark: 'x' } });
        await store.put(bucket, 'd', bytes('2'));
        await store.deleteBucket(bucket);
        expect(await store.getBucket(bucket)).toBeUndefined();
        expect((await failure(store.list(bucket, { prefix: '', limit: 1 }))).code).toBe('not_found');
        expect(await store.createBucket(bucket, {})).toBe('created');
        expect((await store.getBucket(bucket))?.tags).toEqual({});
        expect(await keys()).toEqual([]);
      });

      it('are counted', async () => {
        for (let at = 0; at < 5; at += 1) await store.put(bucket, `f/${at}`, bytes('xx'));
        expect(await store.usage(bucket, 100)).toEqual({ bytes: 10, objects: 5, complete: true });
        expect(await store.usage(bucket, 5)).toEqual({ bytes: 10, objects: 5, complete: true });
        expect(await store.usage(bucket, 3)).toMatchObject({ objects: 3, complete: false });
      });

      it.each(['', 'ab', 'Upper', 'a_b', '../x', 'a/b', '10.0.0.1', 'a..b'])(
        'are refused under the name %j',
        async (name) => {
          expect(await failure(store.createBucket(name, {}))).toMatchObject({
            code: 'invalid_input',
            field: 'bucket',
          });
          expect(await failure(store.put(name, 'k', bytes('')))).toMatchObject({
            code: 'invalid_input',
            field: 'bucket',
          });
        },
      );

      it('that do not exist are not found', async () => {
        const absent = `${bucket}-absent`;
        expect(await store.getBucket(absent)).toBeUndefined();
        for (const attempt of [
          async () => store.put(absent, 'k', bytes('')),
          async () => store.get(absent, 'k'),
          async () => store.list(absent, { prefix: '', limit: 1 }),
          async () => store.deleteBucket(absent),
          async () => store.setBucketTags(absent, {}),
          async () => store.usage(absent, 1),
          async () => store.presign({ bucket: absent, key: 'k', operation: 'upload', expiresInSeconds: 60 }),
        ]) {
          expect((await failure(attempt())).code).toBe('not_found');
        }
      });

      it('of the system hold objects and cannot be deleted', async () => {
        expect(['created', 'exists']).toContain(await store.createBucket(SYSTEM_BUCKET, {}));
        const key = `suite/${bucket}`;
        await store.put(SYSTEM_BUCKET, key, bytes('x'));
        expect((await store.head(SYSTEM_BUCKET, key))?.size).toBe(1);
        await store.remove(SYSTEM_BUCKET, key);
        expect(await store.head(SYSTEM_BUCKET, key)).toBeUndefined();
        expect((await failure(store.deleteBucket(SYSTEM_BUCKET))).code).toBe('invalid_input');
      });
    });

    describe('objects', () => {
      it('come back as they were put, from bytes and from streams', async () => {
        const large = randomBytes(700_001);
        await store.put(bucket, 'in/bytes', large);
        await store.put(
          bucket,
          'in/stream',
          Readable.from([large.subarray(0, 3), large.subarray(3, 400_000), large.subarray(400_000)]),
          {
            size: large.length,
          },
        );
        await store.put(bucket, 'empty', bytes(''));
        for (const key of ['in/bytes', 'in/stream']) {
          const { info, body } = await store.get(bucket, key);
          expect(info.size).toBe(large.length);
          expect((await buffer(body)).equals(large)).toBe(true);
        }
        expect(await textOf('empty')).toBe('');
      });

      it('have one identity, whoever is asked', async () => {
        const put = await store.put(bucket, 'in/a.txt', bytes('hello'));
        const { contentType, metadata, ...info } = put;
        expect(info).toMatchObject({ bucket, key: 'in/a.txt', size: 5 });
        expect(info.etag).not.toContain('"');
        expect([contentType, metadata]).toEqual(['text/plain', {}]);
        expect(await listAll()).toEqual([info]);
        expect(await store.head(bucket, 'in/a.txt')).toEqual(put);
        const got = await store.get(bucket, 'in/a.txt');
        got.body.destroy();
        expect(got.info).toEqual(put);
      });

      it('get another identity and etag with every write', async () => {
        const seen = new Set<string>();
        const etags = new Set<string>();
        for (let round = 0; round < 12; round += 1) {
          const { identity, etag } = await store.put(
            bucket,
            'same',
            bytes(`text ${String(round).padStart(2, '0')}`),
          );
          seen.add(identity);
          etags.add(etag);
          if (round % 3 === 2) await store.remove(bucket, 'same');
        }
        const again = [
          await store.put(bucket, 'same', bytes('x')),
          await store.put(bucket, 'same', bytes('x')),
        ];
        expect(again[0]?.identity).not.toBe(again[1]?.identity);
        expect(seen.size).toBe(12);
        expect(etags.size).toBe(12);
      });

      it('keep content type and metadata, until they are written again', async () => {
        const options = { contentType: 'text/x-odd; a=b', metadata: { 'sluice-hop': '3', empty: '' } };
        const put = await store.put(bucket, 'meta', bytes('1'), options);
        expect(put).toMatchObject(options);
        expect(await store.head(bucket, 'meta')).toEqual(put);
        const got = await store.get(bucket, 'meta');
        got.body.destroy();
        expect(got.info).toMatchObject(options);
        await store.put(bucket, 'meta', bytes('2'));
        expect((await store.head(bucket, 'meta'))?.metadata).toEqual({});
      });

      it.each([
        [{ metadata: { Upper: 'x' } }, 'metadata'],
        [{ metadata: { a: 'b\r\nc: d' } }, 'metadata'],
        [{ metadata: { a: 'x'.repeat(3000) } }, 'metadata'],
        [{ contentType: 'a\nb' }, 'contentType'],
      ])('are refused with %j', async (options, field) => {
        expect(await failure(store.put(bucket, 'k', bytes('x'), options))).toMatchObject({
          code: 'invalid_input',
          field,
        });
        expect(await keys()).toEqual([]);
      });

      it('are not found, or fine to remove, where they are not', async () => {
        expect(await store.head(bucket, 'absent')).toBeUndefined();
        expect(await store.head(bucket, 'no/such/folder')).toBeUndefined();
        expect((await failure(store.get(bucket, 'absent'))).code).toBe('not_found');
        await store.remove(bucket, 'absent');
        await store.remove(bucket, 'no/such/folder');
      });

      it('go when they are removed, and no others', async () => {
        await store.put(bucket, 'f/a', bytes('1'));
        await store.put(bucket, 'f/b', bytes('2'));
        await store.remove(bucket, 'f/a');
        await store.remove(bucket, 'f');
        expect(await keys()).toEqual(['f/b']);
      });

      it.each(oddKeys)('can have the key %j', async (key) => {
        const put = await store.put(bucket, key, bytes(key));
        expect(put.key).toBe(key);
        expect(await textOf(key)).toBe(key);
        expect(await keys()).toEqual([key]);
        expect(await keys(key.slice(0, 3))).toEqual([key]);
        await store.remove(bucket, key);
        expect(await keys()).toEqual([]);
      });

      it.each([
        '',
        '/',
        '/abs',
        'a//b',
        '.',
        '..',
        '../x',
        'a/../../x',
        'a/./b',
        'nul\0',
        'x'.repeat(256),
        'x/'.repeat(600),
        '\ud800',
      ])('cannot have the key %j', async (key) => {
        for (const attempt of [
          async () => store.put(bucket, key, bytes('x')),
          async () => store.get(bucket, key),
          async () => store.head(bucket, key),
          async () => store.remove(bucket, key),
          async () => store.presign({ bucket, key, operation: 'download', expiresInSeconds: 60 }),
        ]) {
          expect(await failure(attempt())).toMatchObject({ code: 'invalid_input', field: 'key' });
        }
      });

      it('may be folder markers, which are not listed', async () => {
        await store.put(bucket, 'folder/', bytes(''));
        await store.put(bucket, 'folder/', bytes(''));
        expect(await keys()).toEqual([]);
        expect((await store.head(bucket, 'folder/'))?.size).toBe(0);
        expect(await textOf('folder/')).toBe('');
        await store.put(bucket, 'folder/file', bytes('x'));
        await store.remove(bucket, 'folder/');
        expect(await keys()).toEqual(['folder/file']);
        expect(await failure(store.put(bucket, 'other/', bytes('x')))).toMatchObject({
          code: 'invalid_input',
          field: 'key',
        });
      });
    });

    describe('conditions', () => {
      it('write only where there is nothing', async () => {
        await store.put(bucket, 'new', bytes('1'), { ifNoneMatch: '*' });
        expect((await failure(store.put(bucket, 'new', bytes('2'), { ifNoneMatch: '*' }))).code).toBe(
          'precondition_failed',
        );
        expect(await textOf('new')).toBe('1');
      });

      it('write only over the state that is expected', async () => {
        const first = await store.put(bucket, 'k', bytes('1'));
        const second = await store.put(bucket, 'k', bytes('2'), { ifMatch: first.etag });
        expect((await failure(store.put(bucket, 'k', bytes('3'), { ifMatch: first.etag }))).code).toBe(
          'precondition_failed',
        );
        expect((await failure(store.put(bucket, 'absent', bytes('3'), { ifMatch: first.etag }))).code).toBe(
          'precondition_failed',
        );
        expect(await textOf('k')).toBe('2');
        const got = await store.get(bucket, 'k', { ifMatch: second.etag });
        expect((await buffer(got.body)).toString()).toBe('2');
        expect((await failure(store.get(bucket, 'k', { ifMatch: first.etag }))).code).toBe(
          'precondition_failed',
        );
      });

      it('let exactly one of many win', async () => {
        const race = async (options: { ifMatch: string } | { ifNoneMatch: '*' }): Promise<string> => {
          const puts = Array.from({ length: 20 }, (_, at) =>
            store.put(bucket, 'race/key', bytes(`writer ${at}`), options),
          );
          const results = await Promise.allSettled(puts);
          const winners = results.flatMap((result, at) =>
            result.status === 'fulfilled' ? [{ at, etag: result.value.etag }] : [],
          );
          expect(winners).toHaveLength(1);
          for (const result of results) {
            if (result.status === 'rejected')
              expect(isAppError(result.reason, 'precondition_failed')).toBe(true);
          }
          expect(await textOf('race/key')).toBe(`writer ${winners[0]?.at}`);
          return winners[0]?.etag ?? '';
        };
        const etag = await race({ ifNoneMatch: '*' });
        await race({ ifMatch: etag });
      });
    });

    describe('uploads that break off', () => {
      const chunks = async function* (end: () => unknown): AsyncGenerator<Buffer> {
        yield Buffer.alloc(300_000, 1);
        yield Buffer.alloc(300_000, 2);
        await end();
      };

      it('leave the old object when the body fails', async () => {
        await store.put(bucket, 'k', bytes('old'));
        const body = Readable.from(
          chunks(() => {
            throw new Error('line cut');
          }),
        );
        expect((await failure(store.put(bucket, 'k', body))).code).toBe('cancelled');
        expect(await textOf('k')).toBe('old');
      });

      it('leave nothing when they are stopped', async () => {
        const stop = new AbortController();
        const body = Readable.from(
          chunks(async () => {
            stop.abort();
            await new Promise(() => {});
          }),
        );
        expect((await failure(store.put(bucket, 'k', body, { signal: stop.signal }))).code).toBe('cancelled');
        expect((await failure(store.put(bucket, 'k', bytes('x'), { signal: stop.signal }))).code).toBe(
          'cancelled',
        );
        expect(await keys()).toEqual([]);
      });

      it.each([4, 6])('leave nothing when the body has not the announced size (%i for 5)', async (size) => {
        const error = await failure(store.put(bucket, 'k', Readable.from([bytes('hello')]), { size }));
        expect(error).toMatchObject({ code: 'invalid_input', field: 'size' });
        expect((await failure(store.put(bucket, 'k', bytes('hello'), { size }))).code).toBe('invalid_input');
        expect(await keys()).toEqual([]);
      });
    });

    describe('readers', () => {
      it('see the old object or the new one, never a mixture', async () => {
        await store.put(bucket, 'k', Buffer.alloc(600_000, 'a'));
        const early = await store.get(bucket, 'k');
        let done = false;
        const write = async (): Promise<void> => {
          for (const letter of 'bcdefgh') await store.put(bucket, 'k', Buffer.alloc(600_000, letter));
          done = true;
        };
        const read = async (): Promise<void> => {
          while (!done) {
            const { info, body } = await store.get(bucket, 'k');
            const data = await buffer(body);
            expect(data.length).toBe(info.size);
            expect(data.equals(Buffer.alloc(600_000, data[0]))).toBe(true);
          }
        };
        await Promise.all([write(), read(), read()]);
        expect((await buffer(early.body)).equals(Buffer.alloc(600_000, 'a'))).toBe(true);
      });

      it('may stop early', async () => {
        await store.put(bucket, 'k', Buffer.alloc(5_000_000));
        const stop = new AbortController();
        const { body } = await store.get(bucket, 'k', { signal: stop.signal });
        const ended = buffer(body).then(
          () => 'whole',
          () => 'stopped',
        );
        stop.abort();
        expect(await ended).toBe('stopped');
        const other = await store.get(bucket, 'k');
        other.body.destroy();
        await store.remove(bucket, 'k');
      });
    });

    describe('listings', () => {
      const tree = [
        'a',
        'a-b',
        'a.txt',
        'a/b',
        'a/b-c',
        'a/b/c',
        'a/b0',
        'a0',
        'b/',
        'ä',
        'z/\uffff',
        'z/😀',
        '\uffff',
        '😀',
      ].filter((key) => !['b/', 'a', 'a/b'].includes(key));

      beforeEach(async () => {
        for (const key of tree) await store.put(bucket, key, bytes(key));
      });

      it.each([1, 2, 3, 1000])('are in byte order of whole keys, in pages of %i', async (limit) => {
        const expected = [...tree].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(await keys('', limit)).toEqual(expected);
        expect([...tree].sort(compareKeys)).toEqual(expected);
      });

      it.each([
        'a',
        'a/',
        'a/b',
        'a/b/',
        'a/b/c',
        'a/b/cc',
        'a-',
        'z',
        'z/',
        'nothing',
        'a//',
        '../',
        '/',
        '😀',
        'ä',
      ])('take any prefix: %j', async (prefix) => {
        const expected = [...tree].sort(compareKeys).filter((key) => key.startsWith(prefix));
        expect(await keys(prefix, 1)).toEqual(expected);
        expect(await keys(prefix)).toEqual(expected);
      });

      it('begin behind any text, a key or not', async () => {
        const sorted = [...tree].sort(compareKeys);
        for (const prefix of ['', 'a', 'a/', 'z/']) {
          for (const after of [
            ...tree,
            'a',
            'a/',
            'a/b',
            'a/b/',
            'a/b/b',
            'a/b/d',
            'a/zz',
            'b',
            'z/',
            '\u{10ffff}',
            '!',
          ]) {
            const page = await store.list(bucket, { prefix, after, limit: 1000 });
            expect(
              page.objects.map((object) => object.key),
              `prefix ${prefix}, after ${after}`,
            ).toEqual(sorted.filter((key) => key.startsWith(prefix) && compareKeys(key, after) > 0));
            expect(page.next).toBeUndefined();
          }
        }
      });

      it('show a full last page as the last', async () => {
        const page = await store.list(bucket, { prefix: '', limit: tree.length });
        expect(page.objects).toHaveLength(tree.length);
        expect(page.next).toBeUndefined();
      });

      it('go on where they were, also when keys came and went', async () => {
        const sorted = [...tree].sort(compareKeys);
        const first = await store.list(bucket, { prefix: '', limit: 4 });
        await store.remove(bucket, sorted[3] ?? '');
        await store.put(bucket, 'zz', bytes('new'));
        const rest = await store.list(bucket, { prefix: '', limit: 1000, after: first.next ?? '' });
        expect(rest.objects.map((object) => object.key)).toEqual(
          [...sorted.slice(4), 'zz'].sort(compareKeys),
        );
      });

      it.each([0, 1001, 1.5])('refuse a limit of %d', async (limit) => {
        expect(await failure(store.list(bucket, { prefix: '', limit }))).toMatchObject({
          code: 'invalid_input',
          field: 'limit',
        });
      });
    });

    describe('time', () => {
      it('parts what was there from what came later', async () => {
        const before = await store.put(bucket, 'before', bytes('x'));
        const now = await store.now();
        const after = await store.put(bucket, 'after', bytes('x'));
        expect(before.changedAt).toBeLessThanOrEqual(now);
        expect(after.changedAt).toBeGreaterThan(now);
      });
    });

    describe('presigned URLs', () => {
      it('name method, expiry and headers', async () => {
        const now = Date.now();
        const upload = await store.presign({
          bucket,
          key: 'in/a b.txt',
          operation: 'upload',
          expiresInSeconds: 900,
          contentType: 'text/plain',
          headers: { 'x-extra': '1' },
        });
        expect(upload.method).toBe('PUT');
        expect(new URL(upload.url).pathname).toContain(`${bucket}/in/a%20b.txt`);
        expect(upload.headers).toMatchObject({ 'Content-Type': 'text/plain', 'x-extra': '1' });
        expect(Math.abs(upload.expiresAt - now - 900_000)).toBeLessThan(10_000);
        const download = await store.presign({
          bucket,
          key: 'in/a b.txt',
          operation: 'download',
          expiresInSeconds: 1,
        });
        expect(download).toMatchObject({ method: 'GET', headers: {} });
      });

      it.each([0, -1, 604_801, 1.5])('are refused for %d seconds', async (expiresInSeconds) => {
        expect(
          (await failure(store.presign({ bucket, key: 'k', operation: 'upload', expiresInSeconds }))).code,
        ).toBe('invalid_input');
      });
    });

    it('says that it works', async () => {
      await store.check();
    });
  });
}
