import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
  await api.call('POST', '/system/buckets', { body: '{"bucket_name":"box"}' });
});
afterAll(async () => api.close());

describe('presigned URLs', () => {
  const presign = async (body: object, bucket = 'box') =>
    api.call('POST', `/system/buckets/${bucket}/presign`, { body: JSON.stringify(body) });
  const pathOf = (answer: { json(): unknown }) => {
    const { url: signed } = answer.json() as { url: string };
    return signed.replace(/^http:\/\/[^/]+/, '');
  };

  test('upload and download without a login', async () => {
    const up = await presign({
      object_key: '/in/a b+c.txt/',
      operation: 'Upload',
      content_type: 'text/plain',
      extra_headers: { 'X-Amz-Meta-Who': 'ada' },
      expires: 5,
    });
    expect(up.status).toBe(200);
    expect(up.text).toMatch(
      /^\{"object_key":"in\/a b\+c\.txt","operation":"upload","method":"PUT","url":"http:\/\/127\.0\.0\.1:\d+\/objects\/box\/in\/[^"]+","expires_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","headers":\{"Content-Type":"text\/plain","X-Amz-Meta-Who":"ada"\}\}$/,
    );
    const headers = { 'content-type': 'text/plain', 'x-amz-meta-who': 'ada' };
    const put = await api.call('PUT', pathOf(up), { as: null, body: 'hello', headers });
    expect([put.status, put.headers.etag]).toEqual([200, expect.stringMatching(/^"/)]);
    expect(
      (
        await api.call('PUT', pathOf(up), {
          as: null,
          body: 'evil',
          headers: { ...headers, 'content-type': 'text/html' },
        })
      ).status,
    ).toBe(403);
    expect((await api.call('PUT', pathOf(up), { as: null, body: 'evil' })).status).toBe(403);
    const down = await presign({
      object_key: 'in/a b+c.txt',
      operation: 'download',
      content_type: 'application/x-special',
      expires_in: 60,
    });
    expect(down.text).not.toContain('"headers"');
    const got = await api.call('GET', pathOf(down), { as: null });
    expect([got.status, got.text, got.headers['content-type'], got.headers['x-amz-meta-who']]).toEqual([
      200,
      'hello',
      'application/x-special',
      'ada',
    ]);
    expect(got.headers['content-security-policy']).toContain('sandbox');
  });

  test('hold for one method and one object only', async () => {
    const path = pathOf(await presign({ object_key: 'in/a', operation: 'download' }));
    await api.objects.put('box', 'in/a', Buffer.from('x'));
    expect((await api.call('GET', path, { as: null })).status).toBe(200);
    for (const [method, changed] of [
      ['PUT', path],
      ['GET', path.replace('/in/a', '/in/b')],
      ['GET', path.replace('/box/', '/box2/')],
      ['GET', `${path}0`],
      ['GET', `${path}&x=1`],
      ['GET', path.replace(/\?.*/, '')],
    ] as const) {
      const answer = await api.call(method, changed, { as: null });
      expect([answer.status, answer.headers['content-type']], changed).toEqual([
        403,
        'application/problem+json',
      ]);
    }
    // The administrator needs no signature elsewhere, but it does not replace one here.
    expect((await api.call('GET', '/objects/box/in/a')).status).toBe(403);
  });

  test.each<[object | string, number, string]>([
    ['', 400, 'Invalid presign request: EOF'],
    [
      { operation: 'upload' },
      400,
      "Invalid presign request: Key: 'PresignRequest.ObjectKey' Error:Field validation for 'ObjectKey' failed on the 'required' tag",
    ],
    [{ object_key: '//', operation: 'upload' }, 400, 'Object key cannot be empty'],
    [
      { object_key: 'a', operation: 'delete' },
      400,
      "Unsupported operation 'delete'. Allowed values are 'upload' or 'download'",
    ],
    [
      { object_key: 'a', operation: 'upload', expires_in: -1 },
      400,
      'Invalid expiration requested: -1. Allowed range is 1-604800 seconds',
    ],
    [
      { object_key: 'a', operation: 'upload', expires_in: 604_801 },
      400,
      'Invalid expiration requested: 604801. Allowed range is 1-604800 seconds',
    ],
    [
      { object_key: 'a/../b', operation: 'upload' },
      400,
      'Invalid presign request: The object key is not valid: ".." may not be a part of it.',
    ],
  ])('%j is refused', async (body, status, message) => {
    const answer = await api.call('POST', '/system/buckets/box/presign', {
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    expect([answer.status, answer.text]).toEqual([status, message]);
  });

  test('of a bucket that is not there: 404', async () => {
    for (const bucket of ['nowhere', 'sluice-system', 'BAD']) {
      const answer = await presign({ object_key: 'a', operation: 'upload' }, bucket);
      expect([answer.status, answer.text]).toEqual([404, `Bucket '${bucket}' not found`]);
    }
  });
});
