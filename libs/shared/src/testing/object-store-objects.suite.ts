import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { isAppError } from '../errors/index.ts';
import type { ObjectStore } from '../stores/index.ts';
import { bytes, failure, type ObjectStoreContext } from './object-store-harness.ts';

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
  'true',
  'false',
  'null',
  '007',
  '1e5',
  '0x10',
  'x'.repeat(255),
  `${'y'.repeat(255)}/${'z'.repeat(255)}`,
  'deep/'.repeat(20).concat('file'),
];

/** Objects, conditions, uploads and readers of an `ObjectStore`. */
export function describeObjects(context: ObjectStoreContext): void {
  const { textOf, keys, listAll } = context;
  let store: ObjectStore;
  let bucket: string;
  beforeEach(() => {
    ({ store, bucket } = context.current());
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
      // Each race has texts of its own: an etag may be a digest of the content.
      const race = async (
        name: string,
        options: { ifMatch: string } | { ifNoneMatch: '*' },
      ): Promise<string> => {
        const puts = Array.from({ length: 20 }, (_, at) =>
          store.put(bucket, 'race/key', bytes(`${name} ${at}`), options),
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
        expect(await textOf('race/key')).toBe(`${name} ${winners[0]?.at}`);
        return winners[0]?.etag ?? '';
      };
      const etag = await race('first', { ifNoneMatch: '*' });
      await race('second', { ifMatch: etag });
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
      // In pieces: the announced bytes are all there before one more comes.
      const pieces = Readable.from([bytes('he'), bytes('ll'), bytes('o')]);
      expect((await failure(store.put(bucket, 'k', pieces, { size }))).code).toBe('invalid_input');
      expect(await keys()).toEqual([]);
    });
  });

  describe('readers', () => {
    it('see the old object or the new one, never a mixture', async () => {
      await store.put(bucket, 'k', Buffer.alloc(600_000, 'a'));
      const early = await store.get(bucket, 'k');
      const state = { done: false };
      const write = async (): Promise<void> => {
        for (const letter of 'bcdefgh') await store.put(bucket, 'k', Buffer.alloc(600_000, letter));
        state.done = true;
      };
      const read = async (): Promise<void> => {
        while (!state.done) {
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
}
