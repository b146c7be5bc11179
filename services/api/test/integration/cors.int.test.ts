import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';

const page = 'https://page.example';
let api: Fixture;
beforeAll(async () => {
  api = await startFixture({
    env: { INGRESS_SERVICES_CORS_ALLOWED_ORIGINS: `${page}, http://localhost:5173/` },
  });
});
afterAll(async () => api.close());

const preflight = async (path: string, origin: string, method = 'PUT', from = api) =>
  from.call('OPTIONS', path, {
    as: null,
    headers: {
      origin,
      'access-control-request-method': method,
      'access-control-request-headers': 'authorization',
    },
  });
const corsHeaders = (headers: object) =>
  Object.keys(headers).filter((name) => name.startsWith('access-control-'));

describe('preflights', () => {
  test.each([
    '/system/services',
    '/system/services/x/',
    '/system/buckets/b/objects/a/b',
    '/job/x',
    '/nothing',
  ])('of %s are answered without a login', async (path) => {
    const answer = await preflight(path, page);
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': page,
      'access-control-allow-methods': 'GET, PUT, POST, DELETE, PATCH, HEAD',
      'access-control-allow-headers': 'Authorization, Content-Type',
      'access-control-max-age': '600',
      vary: 'Origin',
    });
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('an entry with a slash at its end is the origin before it', async () => {
    expect((await preflight('/system/services', 'http://localhost:5173')).status).toBe(204);
  });

  test.each([
    'https://page.example.evil.example',
    'https://sub.page.example',
    'http://page.example',
    'https://page.example:8443',
    'https://page.example/',
    'null',
    'https://',
  ])('of origin %s are 404 without CORS headers', async (origin) => {
    const answer = await preflight('/system/services', origin);
    expect([answer.status, answer.text, corsHeaders(answer.headers)]).toEqual([
      404,
      '404 page not found',
      [],
    ]);
    expect(answer.headers.vary).toBe('Origin');
  });

  test.each([{}, { origin: page }, { 'access-control-request-method': 'PUT' }])(
    'OPTIONS with %j only is no preflight',
    async (headers) => {
      for (const path of ['/system/services', '/nothing']) {
        const answer = await api.call('OPTIONS', path, { as: null, headers });
        expect([answer.status, answer.text]).toEqual([404, '404 page not found']);
      }
    },
  );
});

describe('answers', () => {
  test.each([
    ['GET', '/system/services', 'admin', 200],
    ['GET', '/system/services', null, 401],
    ['POST', '/job/x', null, 401],
    ['GET', '/system/runs', null, 401],
    ['GET', '/system/services/missing', 'admin', 404],
    ['GET', '/nothing', null, 404],
    ['POST', '/system/services', 'admin', 400],
    ['GET', '/system/services/', null, 301],
  ])('%s %s as %s: %d with CORS headers', async (method, path, as, status) => {
    const answer = await api.call(method, path, { as, headers: { origin: page } });
    expect(answer.status).toBe(status);
    expect(answer.headers['access-control-allow-origin']).toBe(page);
    expect(answer.headers['access-control-expose-headers']).toContain('X-Run-Id');
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('streams have them, too', async () => {
    await api.call('POST', '/system/buckets', { body: '{"bucket_name":"streams"}' });
    await api.call('PUT', '/system/buckets/streams/objects/x', { body: 'bytes' });
    const answer = await api.call('GET', '/system/buckets/streams/objects/x', { headers: { origin: page } });
    expect([answer.status, answer.text, answer.headers['access-control-allow-origin']]).toEqual([
      200,
      'bytes',
      page,
    ]);
  });

  test('live events have them, too', async () => {
    const answer = await fetch(`${api.api.address().url}/system/runs/events`, {
      headers: { origin: page, authorization: adminHeader },
    });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    expect(answer.headers.get('access-control-allow-origin')).toBe(page);
    await answer.body?.cancel();
  });

  test('another origin, or none, gets an answer without them', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, {}]) {
      const answer = await api.call('GET', '/system/services', { headers });
      expect([answer.status, corsHeaders(answer.headers)]).toEqual([200, []]);
    }
  });
});

test('* lets every origin in, and never with the browser’s logins', async () => {
  const open = await startFixture({ env: { INGRESS_SERVICES_CORS_ALLOWED_ORIGINS: '*' } });
  try {
    const answer = await preflight('/system/services', 'https://anything.example', 'GET', open);
    expect([answer.status, answer.headers['access-control-allow-origin']]).toEqual([204, '*']);
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
  } finally {
    await open.close();
  }
});
