import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { isAppError, type AppError } from '../errors/index.ts';
import type { ObjectInfo, ObjectStore } from '../stores/index.ts';

/** A store under test, on a place of its own or a shared server: the suite's buckets have random names. */
export interface ObjectStoreUnderTest {
  readonly store: ObjectStore;
  close(): Promise<void>;
}

/** What the parts of the suite share: one store, and a bucket for each test. */
export interface ObjectStoreContext {
  current(): { readonly store: ObjectStore; readonly bucket: string };
  textOf(key: string): Promise<string>;
  /** All pages, each checked for its form. */
  listAll(prefix?: string, limit?: number): Promise<ObjectInfo[]>;
  keys(prefix?: string, limit?: number): Promise<string[]>;
}

/** Sets up store and buckets; to be called inside a `describe`. */
export function createObjectStoreContext(make: () => Promise<ObjectStoreUnderTest>): ObjectStoreContext {
  let tested: ObjectStoreUnderTest;
  let bucket: string;
  beforeAll(async () => {
    tested = await make();
  });
  afterAll(async () => {
    await tested.close();
  });
  beforeEach(async () => {
    bucket = `suite-${randomBytes(8).toString('hex')}`;
    await tested.store.createBucket(bucket, { owner: 'me' });
  });
  afterEach(async () => {
    if ((await tested.store.getBucket(bucket)) !== undefined) await tested.store.deleteBucket(bucket);
  });
  const listAll = async (prefix = '', limit = 1000): Promise<ObjectInfo[]> =>
    listPages(tested.store, bucket, prefix, limit);
  return {
    current: () => ({ store: tested.store, bucket }),
    textOf: async (key) => {
      const { body } = await tested.store.get(bucket, key);
      return (await buffer(body)).toString();
    },
    listAll,
    keys: async (prefix, limit) => (await listAll(prefix, limit)).map((object) => object.key),
  };
}

async function listPages(
  store: ObjectStore,
  bucket: string,
  prefix: string,
  limit: number,
): Promise<ObjectInfo[]> {
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

/** The error that a promise rejects with, which must be an `AppError`. */
export async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (isAppError(error)) return error;
  throw error;
}

export function bytes(text: string): Buffer {
  return Buffer.from(text);
}
