import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { encodeObjectKey } from '@sluice/shared/stores';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture({ env: { JOB_LISTING_LIMIT: '2' } });
  await api.call('POST', '/system/buckets', { body: '{"bucket_name":"box"}' });
});
afterAll(async () => api.close());

const url = (key: string, bucket = 'box') => `/system/buckets/${bucket}/objects/${encodeObjectKey(key)}`;

describe('buckets (OSCAR §1.7)', () => {
  test('null without any; made, listed, changed, removed', async () => {
    const fresh = await startFixture();
    try {
      expect((await fresh.call('GET', '/system/buckets')).text).toBe('null');
      const made = await fresh.call('POST', '/system/buckets', {
        body: '{"bucket_name":"first/deep/er","Visibility":"","allowed_users":null}',
      });
      expect([made.status, made.text]).toEqual([201, '']);
      await fresh.objects.put('first', 'deep/er/x', Buffer.alloc(1536));
      expect((await fresh.call('GET', '/system/buckets')).text).toBe(
        '[{"bucket_name":"first","visibility":"private","allowed_users":null,"owner":"oscar","metadata":{"owner_name":"oscar"},' +
          '"storage_quota":{"source":"unset"},"storage_usage":{"used":"1.5Ki","used_bytes":1536,"objects":1},"attribution":"complete"}]',
      );
      const again = await fresh.call('POST', '/system/buckets', { body: '{"bucket_name":"first"}' });
      expect([again.status, again.text]).toEqual([
        400,
        `Error creating bucket with name 'first': the bucket "first" already exists\n`,
      ]);
      const changed = await fresh.call('PUT', '/system/buckets', {
        body: '{"bucket_name":"first","visibility":"restricted","allowed_users":["ada","bob"]}',
      });
      expect([changed.status, changed.text]).toEqual([204, '']);
      expect((await fresh.call('GET', '/system/buckets')).text).toContain(
        '"visibility":"restricted","allowed_users":["ada","bob"],"owner":"oscar"',
      );
      await fresh.call('PUT', '/system/buckets', { body: '{"bucket_name":"first"}' });
      expect((await fresh.call('GET', '/system/buckets')).text).toContain(
        '"visibility":"private","allowed_users":null',
      );
      expect((await fresh.call('DELETE', '/system/buckets/first')).status).toBe(204);
      const gone = await fresh.call('DELETE', '/system/buckets/first');
      expect([gone.status, gone.text]).toEqual([404, "The bucket 'first' does not exist"]);
    } finally {
      await fresh.close();
    }
  });

  test('a listing has pages', async () => {
    for (const key of ['p/a', 'p/b', 'p/c']) await api.objects.put('box', key, Buffer.from('x'));
    const first = await api.call('GET', '/system/buckets/box?limit=500');
    expect(first.text).toMatch(
      /^\{"bucket_name":"box","visibility":"private","allowed_users":null,"owner":"oscar","metadata":\{"owner":"oscar","owner_name":"oscar"\},"objects":\[\{"object_name":"p\/a","size_bytes":1,"last_modified":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC"\}/,
    );
    const page = first.json() as { next_page: string; is_truncated: boolean; returned_items: number };
    expect([page.is_truncated, page.returned_items]).toEqual([true, 2]);
    const second = (await api.call('GET', `/system/buckets/box?page=${page.next_page}`)).json() as {
      objects: { object_name: string }[];
    };
    expect(second).toMatchObject({ is_truncated: false, objects: [{ object_name: 'p/c' }] });
    expect((await api.call('GET', '/system/buckets/box?page=!!')).status).toBe(400);
  });

  test('of a service can’t be changed nor removed while it is there; the system’s is not there', async () => {
    await api.service('holder');
    const change = await api.call('PUT', '/system/buckets', {
      body: '{"bucket_name":"holder","visibility":"public"}',
    });
    expect([change.status, change.text]).toEqual([
      403,
      "Forbidden action: A bucket from a service can't be modified\n",
    ]);
    expect((await api.call('DELETE', '/system/buckets/holder')).status).toBe(409);
    for (const path of ['', '/objects', '/objects/events/x']) {
      expect((await api.call('GET', `/system/buckets/sluice-system${path}`)).status).toBe(404);
    }
    expect((await api.call('PUT', '/system/buckets/sluice-system/objects/x', { body: 'x' })).status).toBe(
      404,
    );
    expect((await api.call('DELETE', '/system/buckets/sluice-system')).status).toBe(404);
    expect(
      (await api.call('POST', '/system/buckets', { body: '{"bucket_name":"sluice-system"}' })).status,
    ).toBe(400);
    expect((await api.call('GET', '/system/buckets')).text).not.toContain('sluice-system');
  });

  test.each([
    '{}',
    '{"bucket_name":"A"}',
    '{"bucket_name":"../x"}',
    '{"bucket_name":"ok-name/../x"}',
    '{"bucket_name":"ok-name","visibility":"PUBLIC"}',
    '{"bucket_name":1}',
    '',
  ])('%s is a 400', async (body) => {
    expect((await api.call('POST', '/system/buckets', { body })).status).toBe(400);
  });
});

describe('objects', () => {
  test('come back as they were stored', async () => {
    const put = await api.call('PUT', url('in/photo 1.jpg'), {
      body: 'bytes',
      headers: { 'content-type': 'image/jpeg', 'x-amz-meta-colour': 'blue' },
    });
    expect([put.status, put.text]).toEqual([201, '']);
    const etag = String(put.headers.etag);
    expect(etag).toMatch(/^".+"$/);
    const got = await api.call('GET', url('in/photo 1.jpg'));
    expect([got.status, got.text]).toEqual([200, 'bytes']);
    expect(got.headers).toMatchObject({
      etag,
      'content-type': 'image/jpeg',
      'content-length': '5',
      'x-amz-meta-colour': 'blue',
      'x-content-type-options': 'nosniff',
    });
    expect(got.headers['last-modified']).toMatch(/GMT$/);
    const head = await api.call('HEAD', url('in/photo 1.jpg'));
    expect([head.status, head.text, head.headers['content-length'], head.headers.etag]).toEqual([
      200,
      '',
      '5',
      etag,
    ]);
    const listed = (await api.call('GET', '/system/buckets/box/objects?prefix=in/')).json();
    expect(listed).toEqual({
      objects: [
        {
          key: 'in/photo 1.jpg',
          size: 5,
          etag: etag.slice(1, -1),
          last_modified: expect.stringMatching(/Z$/),
        },
      ],
    });
    expect((await api.call('DELETE', url('in/photo 1.jpg'))).status).toBe(204);
    const gone = await api.call('GET', url('in/photo 1.jpg'));
    expect([gone.status, gone.headers['content-type']]).toEqual([404, 'application/problem+json']);
    const headGone = await api.call('HEAD', url('in/photo 1.jpg'));
    expect([headGone.status, headGone.text]).toEqual([404, '']);
  });

  test('conditions hold', async () => {
    const first = String(
      (await api.call('PUT', url('c'), { body: '1', headers: { 'if-none-match': '*' } })).headers.etag,
    );
    expect((await api.call('PUT', url('c'), { body: '2', headers: { 'if-none-match': '*' } })).status).toBe(
      412,
    );
    const second = String(
      (await api.call('PUT', url('c'), { body: '2', headers: { 'if-match': first } })).headers.etag,
    );
    expect((await api.call('PUT', url('c'), { body: '3', headers: { 'if-match': first } })).status).toBe(412);
    expect((await api.call('GET', url('c'), { headers: { 'if-match': first } })).status).toBe(412);
    expect((await api.call('HEAD', url('c'), { headers: { 'if-match': first } })).status).toBe(412);
    expect((await api.call('GET', url('c'), { headers: { 'if-match': second } })).text).toBe('2');
    const known = await api.call('GET', url('c'), { headers: { 'if-none-match': second } });
    expect([known.status, known.text]).toEqual([304, '']);
    expect(
      (await api.call('PUT', url('c'), { body: '4', headers: { 'if-none-match': '"x"' } })).json(),
    ).toMatchObject({ field: 'If-None-Match' });
  });

  test('any key that a bucket can hold comes through a URL once', async () => {
    const part = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..' && text.isWellFormed());
    const odd = fc.constantFrom(
      'a+b',
      'a%20b',
      '100%',
      '%2F',
      '%252e',
      'ü',
      ' ',
      '日本',
      'a?b#c',
      'a;b',
      'line\nbreak',
      '...',
    );
    const keys = fc
      .array(fc.oneof(part, odd), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join('/'));
    let count = 0;
    await fc.assert(
      fc.asyncProperty(keys, async (key) => {
        count += 1;
        const folder = `any${count}`;
        const put = await api.call('PUT', url(`${folder}/${key}`), { body: key });
        expect(put.status).toBe(201);
        expect((await api.call('GET', url(`${folder}/${key}`))).text).toBe(Buffer.from(key).toString());
        const { objects } = (
          await api.call('GET', `/system/buckets/box/objects?prefix=${folder}/`)
        ).json() as { objects: { key: string }[] };
        expect(objects.map((object) => object.key)).toEqual([`${folder}/${key}`]);
      }),
      { numRuns: 40 },
    );
  }, 30_000);

  test.each([
    '/system/buckets/box/objects/../../x',
    '/system/buckets/box/objects/%2e%2e/x',
    '/system/buckets/box/objects//x',
    '/system/buckets/box/objects/a%2F..%2Fb',
    '/system/buckets/box/objects/a%00b',
    '/system/buckets/box/objects/%',
    '/system/buckets/box/objects/%ff',
    `/system/buckets/box/objects/${'x'.repeat(256)}`,
    '/system/buckets/%2e%2e/objects/x',
    '/system/buckets/BAD/objects/x',
  ])('%s leads nowhere', async (path) => {
    for (const method of ['PUT', 'GET', 'HEAD', 'DELETE']) {
      const answer = await api.call(method, path, method === 'PUT' ? { body: 'x' } : {});
      expect(answer.status, method).toBeGreaterThanOrEqual(400);
      expect(answer.status, method).toBeLessThan(500);
    }
  });

  test('stream both ways with flat memory', async () => {
    const size = 300 * 1024 * 1024;
    const chunk = randomBytes(1024 * 1024);
    const hash = createHash('sha256');
    function* source() {
      for (let sent = 0; sent < size; sent += chunk.length) {
        hash.update(chunk);
        yield chunk;
      }
    }
    const { port } = api.api.address();
    const before = process.memoryUsage.rss();
    let peak = before;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const put = httpRequest(
      { port, method: 'PUT', path: url('big'), headers: { authorization: adminHeader } },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    put.on('error', reject);
    await pipeline(Readable.from(source()), put);
    expect(await promise).toBe(201);
    const back = createHash('sha256');
    const { promise: read, resolve: done, reject: failed } = Promise.withResolvers<void>();
    httpRequest({ port, path: url('big'), headers: { authorization: adminHeader } }, (response) => {
      response.on('data', (bytes: Buffer) => {
        back.update(bytes);
        peak = Math.max(peak, process.memoryUsage.rss());
      });
      response.on('end', done);
      response.on('error', failed);
    }).end();
    await read;
    expect(back.digest('hex')).toBe(hash.digest('hex'));
    // Client and server are this process, and what is read waits for the collector: half of it is far from all of it.
    expect(peak - before).toBeLessThan(size / 2);
    await api.call('DELETE', url('big'));
  }, 60_000);

  test('an upload that breaks off stores nothing', async () => {
    const statuses = async () => (await api.call('GET', '/metrics')).text;
    const ended = /sluice_http_responses_total\{status="499"\} 1/;
    const socket = connect(api.api.address().port);
    socket.write(
      `PUT ${url('broken')} HTTP/1.1\r\nHost: x\r\nAuthorization: ${adminHeader}\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n`,
    );
    await once(socket, 'data');
    socket.write('half');
    socket.destroy();
    await expect.poll(statuses).toMatch(ended);
    expect((await api.call('GET', url('broken'))).status).toBe(404);
  });
});
