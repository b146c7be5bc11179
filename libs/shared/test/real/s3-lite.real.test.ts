import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, describe, expect, it } from 'vitest';
import { createLeanS3Store, type S3Keys } from '../../src/adapters/s3-lite.ts';
import { isAppError } from '../../src/errors/index.ts';
import { describeObjectStore } from '../../src/testing/object-store.suite.ts';
import { openS3Store, s3Server } from './s3-fixture.ts';

function openLean(
  keys?: () => Promise<S3Keys>,
  more: { readonly onePieceBytes?: number; readonly onBytes?: (count: number) => void } = {},
): ReturnType<typeof createLeanS3Store> {
  const { endpoint, region, accessKey, secretKey } = s3Server();
  return createLeanS3Store({
    endpoint: new URL(endpoint),
    region,
    verify: true,
    now: Date.now,
    keys: keys ?? (async () => Promise.resolve({ accessKey, secretKey })),
    ...more,
  });
}

// Buckets are made by the other one: a pod makes none.
describeObjectStore('lean S3', async () => {
  const store = await openS3Store();
  const { close, ...lean } = openLean();
  return {
    store: { ...store, ...lean },
    close: async () => {
      close();
      await store.close();
    },
  };
});

/** Keys of MinIO's `AssumeRole`, limited to one prefix. */
async function assumeRole(bucket: string, prefix: string): Promise<S3Keys> {
  const { AwsClient } = await import('aws4fetch');
  const { endpoint, region, accessKey, secretKey } = s3Server();
  const client = new AwsClient({
    accessKeyId: accessKey,
    secretAccessKey: secretKey,
    service: 'sts',
    region,
  });
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: ['s3:GetObject', 's3:PutObject'],
        Resource: [`arn:aws:s3:::${bucket}/${prefix}*`],
      },
      {
        Effect: 'Allow',
        Action: ['s3:ListBucket'],
        Resource: [`arn:aws:s3:::${bucket}`],
        Condition: { StringLike: { 's3:prefix': [`${prefix}*`] } },
      },
    ],
  });
  const body = new URLSearchParams({
    Action: 'AssumeRole',
    Version: '2011-06-15',
    DurationSeconds: '900',
    Policy,
  });
  const answer = await client.fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: body.toString(),
  });
  const text = await answer.text();
  const part = (name: string): string => new RegExp(`<${name}>([^<]+)</${name}>`).exec(text)?.[1] ?? '';
  expect(answer.status).toBe(200);
  return {
    accessKey: part('AccessKeyId'),
    secretKey: part('SecretAccessKey'),
    sessionToken: part('SessionToken'),
  };
}

describe('lean S3 with keys that are short-lived and limited', () => {
  const bucket = `lean-${randomBytes(6).toString('hex')}`;
  afterAll(async () => {
    const store = await openS3Store();
    await store.deleteBucket(bucket);
    await store.close();
  });

  it('reads and writes its part, streams without a size and conditions included, and nothing else', async () => {
    const admin = await openS3Store();
    await admin.createBucket(bucket, {});
    await admin.put(bucket, 'other/secret', Buffer.from('x'));
    await admin.close();
    const keys = await assumeRole(bucket, 'mine/');
    const store = openLean(async () => Promise.resolve(keys));
    const stored = await store.put(bucket, 'mine/a b+ü.txt', Buffer.from('hello'), {
      ifNoneMatch: '*',
      metadata: { a: 'b' },
    });
    expect(await store.head(bucket, 'mine/a b+ü.txt')).toEqual(stored);
    const again: unknown = await store
      .put(bucket, 'mine/a b+ü.txt', Buffer.from('2'), { ifNoneMatch: '*' })
      .catch((error: unknown) => error);
    expect(isAppError(again, 'precondition_failed')).toBe(true);
    const big = Buffer.alloc(17 * 1024 * 1024, 'x');
    const parts = await store.put(bucket, 'mine/big', Readable.from([big, big], { objectMode: false }));
    expect(parts.size).toBe(2 * big.length);
    for (const denied of [
      async () => store.get(bucket, 'other/secret'),
      async () => store.put(bucket, 'other/new', Buffer.from('x')),
    ]) {
      const error: unknown = await denied().catch((reason: unknown) => reason);
      expect(isAppError(error)).toBe(true);
    }
    store.close();
  });

  it('sends what is too large for one piece in parts that are never held, of exactly the announced size', async () => {
    const admin = await openS3Store();
    await admin.createBucket(bucket, {});
    const keys = await assumeRole(bucket, 'parts/');
    let passed = 0;
    const store = openLean(async () => Promise.resolve(keys), {
      onePieceBytes: 6 * 1024 * 1024,
      onBytes: (count) => {
        passed += count;
      },
    });
    const piece = randomBytes(1024 * 1024);
    const body = (pieces: number): Readable =>
      Readable.from(Array<Buffer>(pieces).fill(piece), { objectMode: false });
    const size = 20 * piece.length;
    const stored = await store.put(bucket, 'parts/big', body(20), { size, ifNoneMatch: '*' });
    expect(stored.size).toBe(size);
    expect(stored.etag).toMatch(/-4$/);
    expect(passed).toBe(size);
    const { body: back } = await store.get(bucket, 'parts/big');
    expect((await buffer(back)).equals(Buffer.concat(Array<Buffer>(20).fill(piece)))).toBe(true);
    expect(passed).toBe(2 * size);
    for (const pieces of [19, 21]) {
      await expect(store.put(bucket, 'parts/other', body(pieces), { size })).rejects.toThrow(
        'announced size',
      );
    }
    expect(await store.head(bucket, 'parts/other')).toBeUndefined();
    store.close();
    await admin.close();
  });
});
