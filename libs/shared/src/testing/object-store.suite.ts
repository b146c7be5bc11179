import { beforeEach, describe, expect, it } from 'vitest';
import { SYSTEM_BUCKET, type ObjectStore } from '../stores/index.ts';
import {
  bytes,
  failure,
  createObjectStoreContext,
  type ObjectStoreUnderTest,
} from './object-store-harness.ts';
import { describeListings } from './object-store-listings.suite.ts';
import { describeObjects } from './object-store-objects.suite.ts';

export type { ObjectStoreUnderTest } from './object-store-harness.ts';

/**
 * What every `ObjectStore` keeps. `make` may give the same server each time.
 * @param name for the test report
 */
export function describeObjectStore(name: string, make: () => Promise<ObjectStoreUnderTest>): void {
  describe(`ObjectStore: ${name}`, () => {
    const context = createObjectStoreContext(make);
    const { keys } = context;
    let store: ObjectStore;
    let bucket: string;
    beforeEach(() => {
      ({ store, bucket } = context.current());
    });
    describeObjects(context);
    describeListings(context);

    describe('buckets', () => {
      it('are made once, with their tags', async () => {
        expect(await store.createBucket(bucket, { owner: 'other' })).toBe('exists');
        const info = await store.getBucket(bucket);
        expect(info).toMatchObject({ name: bucket, tags: { owner: 'me' } });
        expect(Math.abs((info?.createdAt ?? 0) - (await store.now()))).toBeLessThan(3_600_000);
        await store.setBucketTags(bucket, { owner: 'you', service: 'true', n: '007' });
        expect((await store.getBucket(bucket))?.tags).toEqual({ owner: 'you', service: 'true', n: '007' });
        await store.setBucketTags(bucket, { owner: '', users: 'a.b@c d-e_f:g/h+i=j' });
        expect((await store.getBucket(bucket))?.tags).toEqual({ owner: '', users: 'a.b@c d-e_f:g/h+i=j' });
        await store.setBucketTags(bucket, {});
        expect((await store.getBucket(bucket))?.tags).toEqual({});
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
      expect(await store.check()).toBeUndefined();
    });
  });
}
