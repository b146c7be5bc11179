import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Client } from 'minio';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isAppError, type AppError } from '../../src/errors/index.ts';
import { eventually } from '../../src/testing/index.ts';
import type { S3ObjectStore } from '../../src/adapters/s3-object-store.ts';
import { openS3Store, s3Server } from './s3-fixture.ts';

/* What only an S3 server has: uploads in parts, versions, connections, URLs that it checks itself. */

const bucket = `t${randomBytes(6).toString('hex')}`;
const partBytes = 16 * 1024 * 1024;
let store: S3ObjectStore;
let client: Client;

beforeAll(async () => {
  store = await openS3Store();
  const { endpoint, ...keys } = s3Server();
  const { hostname, port, protocol } = new URL(endpoint);
  client = new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === 'https:', ...keys });
  await store.createBucket(bucket, {});
});
afterAll(async () => {
  await store.deleteBucket(bucket);
  await store.close();
});

/** So many bytes of unknown size to the reader, made as they are asked for. */
function bytesOf(count: number): Readable {
  const chunk = Buffer.alloc(65_536, 'b');
  const make = function* (): Generator<Buffer> {
    for (let left = count; left > 0; left -= chunk.length)
      yield chunk.subarray(0, Math.min(left, chunk.length));
  };
  return Readable.from(make(), { objectMode: false });
}

async function failure(work: Promise<unknown>): Promise<AppError> {
  try {
    await work;
  } catch (error) {
    if (isAppError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

async function incompleteUploads(): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for await (const one of client.listIncompleteUploads(bucket, '', true)) found.push(one);
  return found;
}

describe('uploads in parts', () => {
  test('are written under a condition, decided at their end', async () => {
    const large = partBytes + 5;
    const first = await store.put(bucket, 'parts', bytesOf(large), { ifNoneMatch: '*' });
    expect(first).toMatchObject({ size: large, etag: expect.stringMatching(/-2$/) as string });
    for (const condition of [{ ifNoneMatch: '*' }, { ifMatch: '0'.repeat(32) }] as const) {
      const error = await failure(store.put(bucket, 'parts', bytesOf(large), condition));
      expect(error.code).toBe('precondition_failed');
    }
    const second = await store.put(bucket, 'parts', bytesOf(large + 1), { ifMatch: first.etag });
    expect(await store.head(bucket, 'parts')).toEqual(second);
    expect(await incompleteUploads()).toEqual([]);
  });

  test('lose where another writer comes while they are on their way', async () => {
    const body = new PassThrough();
    const losing = failure(store.put(bucket, 'raced', body, { ifNoneMatch: '*' }));
    body.write(Buffer.alloc(2 * partBytes));
    await eventually('the first part', async () => (await incompleteUploads()).length === 1, 20_000);
    await store.put(bucket, 'raced', Buffer.from('quick'));
    body.end('the end');
    expect((await losing).code).toBe('precondition_failed');
    expect((await store.head(bucket, 'raced'))?.size).toBe(5);
    expect(await incompleteUploads()).toEqual([]);
  });

  test('hold no more than a few parts in memory', async () => {
    const size = 12 * partBytes;
    const before = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    const info = await store.put(bucket, 'long', bytesOf(size));
    clearInterval(watch);
    expect(info.size).toBe(size);
    expect(most - before).toBeLessThan(6 * partBytes);
  });

  test('leave nothing when they break off, or their writer goes', async () => {
    const broken = new PassThrough();
    const breaking = failure(store.put(bucket, 'broken', broken));
    broken.write(Buffer.alloc(2 * partBytes));
    await eventually('the upload', async () => (await incompleteUploads()).length === 1, 20_000);
    broken.destroy(new Error('the cable'));
    expect((await breaking).code).toBe('cancelled');
    const leaving = new AbortController();
    const hanging = new PassThrough();
    const left = failure(store.put(bucket, 'left', hanging, { signal: leaving.signal }));
    hanging.write(Buffer.alloc(2 * partBytes));
    await eventually('the upload', async () => (await incompleteUploads()).length === 1, 20_000);
    leaving.abort();
    expect((await left).code).toBe('cancelled');
    expect(await incompleteUploads()).toEqual([]);
    expect(await store.head(bucket, 'broken')).toBeUndefined();
    expect(await store.head(bucket, 'left')).toBeUndefined();
  });
});

test('a body that nobody reads to its end gives its connection back', async () => {
  await store.put(bucket, 'big', bytesOf(8_000_000), { size: 8_000_000 });
  // More than there may be connections.
  for (let turn = 0; turn < 150; turn += 1) {
    const { body } = await store.get(bucket, 'big');
    if (turn % 2 === 0) await once(body, 'readable');
    body.destroy();
  }
  const { body } = await store.get(bucket, 'big');
  expect((await buffer(body)).length).toBe(8_000_000);
});

test('a stream of events that is given up ends at once, also while the server holds its answer back', async () => {
  const given = new AbortController();
  const handlers = { signal: given.signal, onOpen: () => undefined, onNotification: () => undefined };
  const listening = store.listen(handlers);
  given.abort();
  // Else it would not end at all.
  await expect(listening).resolves.toBeUndefined();
});

test('a bucket with versions has one state for each key, and goes with all of them', async () => {
  const versioned = `${bucket}-v`;
  await store.createBucket(versioned, {});
  await client.setBucketVersioning(versioned, { Status: 'Enabled' });
  const states = [];
  for (const text of ['one', 'two', 'two']) states.push(await store.put(versioned, 'k', Buffer.from(text)));
  expect(new Set(states.map(({ identity }) => identity)).size).toBe(3);
  expect((await store.list(versioned, { prefix: '', limit: 10 })).objects).toHaveLength(1);
  expect(await store.head(versioned, 'k')).toEqual(states[2]);
  await store.remove(versioned, 'k');
  expect(await store.head(versioned, 'k')).toBeUndefined();
  await store.deleteBucket(versioned);
  expect(await store.getBucket(versioned)).toBeUndefined();
});

describe('URLs for others', () => {
  const key = "in/a b+c%20'é(1)!*~.txt";
  const upload = { operation: 'upload', bucket, key, expiresInSeconds: 60 } as const;

  test('allow what they say, and nothing else', async () => {
    const headers = { 'x-amz-meta-owner': 'two  spaces' };
    const up = await store.presign({ ...upload, contentType: 'text/x-own', headers });
    const body = 'by URL';
    // Without a header that is signed.
    expect((await fetch(up.url, { method: 'PUT', body })).status).toBe(400);
    const other = { ...up.headers, 'Content-Type': 'text/html' };
    expect((await fetch(up.url, { method: 'PUT', body, headers: other })).status).toBe(403);
    const put = await fetch(up.url, { method: 'PUT', body, headers: up.headers });
    expect(put.status, await put.text()).toBe(200);
    expect(await store.head(bucket, key)).toMatchObject({
      size: 6,
      contentType: 'text/x-own',
      metadata: { owner: expect.stringMatching(/two +spaces/) as string },
    });
    expect((await fetch(up.url, { method: 'DELETE', headers: up.headers })).status).toBe(403);
    const down = await store.presign({
      ...upload,
      operation: 'download',
      contentType: 'text/x-"other"; a=b',
    });
    const got = await fetch(down.url);
    expect([got.status, await got.text()]).toEqual([200, body]);
    expect(got.headers.get('content-type')).toBe('text/x-"other"; a=b');
    expect((await fetch(down.url.replace('c%2520', 'd%2520'))).status).toBe(403);
  });

  test('lead to the address that clients reach the server by', async () => {
    const publicEndpoint = new URL(s3Server().endpoint.replace('127.0.0.1', 'localhost'));
    const outside = await openS3Store({ publicEndpoint });
    await store.put(bucket, 'outside', Buffer.from('by another address'));
    const { url } = await outside.presign({ ...upload, key: 'outside', operation: 'download' });
    expect(new URL(url).origin).toBe(publicEndpoint.origin);
    expect(await (await fetch(url)).text()).toBe('by another address');
    await outside.close();
  });

  test('end with their time', async () => {
    const { url } = await store.presign({ ...upload, operation: 'download', expiresInSeconds: 1 });
    await eventually('the end of the URL', async () => (await fetch(url)).status === 403, 10_000);
  });
});
