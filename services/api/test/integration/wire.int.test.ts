import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

describe('OSCAR §12.4, 1', () => {
  test('/health is Ok without a login', async () => {
    const answer = await api.call('GET', '/health', { as: null });
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      200,
      'Ok',
      'text/plain; charset=utf-8',
    ]);
  });

  test.each([
    ['GET', '/nothing'],
    ['PATCH', '/system/services'],
    ['DELETE', '/system/services'],
    ['GET', '/job/demo'],
    ['POST', '/health'],
    ['GET', '//system/services'],
    ['GET', '/system/services/a/b/c'],
  ])('%s %s is 404 before any login', async (method, path) => {
    const answer = await api.call(method, path, { as: null });
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      404,
      '404 page not found',
      'text/plain; charset=utf-8',
    ]);
  });

  test.each(['/health', '/job/demo', '/system/services'])('HEAD %s is 404 without a body', async (path) => {
    const answer = await api.call('HEAD', path, { as: null });
    expect([answer.status, answer.text]).toEqual([404, '']);
  });

  test.each([
    ['nothing', {}],
    ['a wrong password', { authorization: `Basic ${Buffer.from('oscar:wrong').toString('base64')}` }],
    ['a bearer token', { authorization: `Bearer ${'a'.repeat(64)}` }],
    ['noise', { authorization: 'Basic \u00ff' }],
  ])('a login with %s is 401 with the challenge and no body', async (_name, headers) => {
    const answer = await api.call('GET', '/system/services', { as: null, headers });
    expect([answer.status, answer.text]).toEqual([401, '']);
    expect(answer.headers['www-authenticate']).toBe('Basic realm="Authorization Required"');
    expect(answer.headers['content-type']).toBeUndefined();
  });

  test('Sluice’s own routes say why in problem+json', async () => {
    const answer = await api.call('GET', '/system/runs', { as: null });
    expect(answer.status).toBe(401);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json()).toMatchObject({ status: 401, code: 'unauthenticated' });
  });
});

describe('redirects', () => {
  test('GET is 301, others 307, the query stays, before any login', async () => {
    const get = await api.call('GET', '/system/services/?include=deployment', { as: null });
    expect([get.status, get.headers.location]).toEqual([301, '/system/services?include=deployment']);
    expect(get.text).toBe('<a href="/system/services?include=deployment">Moved Permanently</a>.\n\n');
    const post = await api.call('POST', '/system/services/', { as: null, body: '{}' });
    expect([post.status, post.headers.location, post.text]).toEqual([307, '/system/services', '']);
    const nested = await api.call('GET', '/system/services/demo/', { as: null });
    expect([nested.status, nested.headers.location]).toEqual([301, '/system/services/demo']);
  });

  test('do not lead elsewhere nor carry markup', async () => {
    const answer = await api.call('GET', '/system/services/%22%3E%3Cscript%3E/?"><b>', { as: null });
    expect(answer.status).toBe(301);
    expect(answer.text).not.toContain('<b>');
    expect(answer.headers.location?.startsWith('/system/')).toBe(true);
  });
});

describe('info and config', () => {
  test('have OSCAR’s shapes; what is absent is empty', async () => {
    const info = await api.call('GET', '/system/info');
    expect(info.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(info.text).toBe(
      '{"version":"1.2.3","git_commit":"abc","architecture":"amd64","kubernetes_version":""}',
    );
    const config = await api.call('GET', '/system/config/'.slice(0, -1));
    expect(config.text).toBe(
      '{"config":{"name":"oscar","namespace":"","services_namespace":"oscar-svc","controller_service_account":"","gpu_available":false,' +
        '"interLink_available":false,"yunikorn_enable":false,"kueue_enable":false,"volume_enable":false,"oidc_groups":[],"minio_quota_enabled":false},' +
        '"minio_provider":{"endpoint":"https://minio-service.minio:9000","verify":true,"access_key":"","secret_key":"","region":"us-east-1"},' +
        '"allowed_image_repositories":[]}',
    );
  });
});

describe('bodies', () => {
  const body = (name: string) =>
    JSON.stringify({ Name: name, IMAGE: 'i', Script: 's', Environment: { Variables: { A: '1' } } });

  test.each([
    ['none', undefined],
    ['form', 'application/x-www-form-urlencoded'],
    ['text', 'text/json'],
    ['octets', 'application/octet-stream'],
    ['garbage', 'garbage'],
    ['broken', ';;;=\u00ff'],
    ['empty', ''],
  ])('are read with content type %s', async (name, type) => {
    const service = `body-${name}`;
    const answer = await api.call('POST', '/system/services', {
      body: body(service),
      headers: type === undefined ? {} : { 'content-type': type },
    });
    expect([answer.status, answer.text]).toEqual([201, '']);
    expect((await api.call('GET', `/system/services/${service}`)).text).toContain(
      '"environment":{"variables":{"A":"1"},"secrets":{}}',
    );
  });

  test('may come in chunks, with trailing bytes', async () => {
    const text = `${body('body-chunks')}trailing`;
    const chunks = [text.slice(0, 10), text.slice(10)]
      .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
      .join('');
    const answer = await api.raw(
      `POST /system/services HTTP/1.1\r\nHost: x\r\nAuthorization: ${adminHeader}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 201 Created\r\n/);
    expect(answer.toLowerCase()).toContain('content-length: 0');
  });

  test('an empty one is EOF', async () => {
    for (const headers of [{}, { 'content-type': 'application/json' }]) {
      const answer = await api.call('POST', '/system/services', { headers });
      expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
        400,
        'The service specification is not valid: EOF',
        'text/plain; charset=utf-8',
      ]);
    }
  });

  test('11 MB are 413 with the limit named, and the client reads it', async () => {
    const answer = await api.call('POST', '/system/services', { body: Buffer.alloc(11_000_000, 'x') });
    expect(answer.status).toBe(413);
    expect(answer.text).toContain('10485760 bytes');
    const chunked = await api.call('POST', '/system/services', {
      body: Buffer.alloc(11_000_000, 'x'),
      headers: { 'transfer-encoding': 'chunked' },
    });
    expect(chunked.status).toBe(413);
  });

  test('10 MB of brackets, of commas, of one string are a 400', async () => {
    for (const text of [
      '['.repeat(10_000_000),
      `[${'0,'.repeat(5_000_000)}`,
      `{"name":"${'x'.repeat(10_000_000)}"`,
    ]) {
      expect((await api.call('POST', '/system/services', { body: text })).status).toBe(400);
    }
  });
});

test('bodies of many callers together have a limit', async () => {
  const small = await startFixture({ env: { SLUICE_BODY_MEMORY: '1048576', SLUICE_BODY_LIMIT: '1048576' } });
  const head = `POST /system/services HTTP/1.1\r\nHost: x\r\nAuthorization: ${adminHeader}\r\nContent-Length: 700000\r\n\r\n`;
  const send = async () => small.call('POST', '/system/services', { body: Buffer.alloc(900_000, ' ') });
  const status = async () => (await send()).status;
  const unfinished = connect(small.api.address().port);
  try {
    unfinished.write(head + 'x'.repeat(600_000));
    await expect.poll(status).toBe(503);
    expect((await send()).headers['retry-after']).toBe('1');
    // Room again as soon as that client is gone.
    unfinished.destroy();
    await expect.poll(status).toBe(400);
  } finally {
    unfinished.destroy();
    await small.close();
  }
});
