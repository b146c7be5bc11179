import { beforeEach, describe, expect, it } from 'vitest';
import { compareKeys, type ObjectStore } from '../stores/index.ts';
import { bytes, failure, type ObjectStoreContext } from './object-store-harness.ts';

/** Listings of an `ObjectStore`. */
export function describeListings(context: ObjectStoreContext): void {
  const { keys } = context;
  let store: ObjectStore;
  let bucket: string;
  beforeEach(() => {
    ({ store, bucket } = context.current());
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
      expect(rest.objects.map((object) => object.key)).toEqual([...sorted.slice(4), 'zz'].sort(compareKeys));
    });

    it.each([0, 1001, 1.5])('refuse a limit of %d', async (limit) => {
      expect(await failure(store.list(bucket, { prefix: '', limit }))).toMatchObject({
        code: 'invalid_input',
        field: 'limit',
      });
    });
  });
}
