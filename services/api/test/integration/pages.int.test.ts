import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

const get = async (path: string) => api.call('GET', path, { as: null });
const sources = (html: string) => [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url = '']) => url);

describe('GET /', () => {
  test('says what this is, small and without a login', async () => {
    const page = await get('/');
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.bytes.byteLength).toBeLessThan(4096);
    expect(page.text).toContain('1.2.3');
    expect(page.text).toContain('npx sluice status');
  });

  test('links to what is there', async () => {
    for (const path of sources((await get('/')).text)) {
      const answer = await api.call('GET', `/${path}`);
      expect([path, answer.status]).toEqual([path, 200]);
    }
  });

  test('lets a browser load nothing but its own style', async () => {
    const page = await get('/');
    const style = /<style>(.*)<\/style>/s.exec(page.text)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(page.headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(page.headers['x-content-type-options']).toBe('nosniff');
  });

  test('has the head alone with HEAD', async () => {
    const head = await api.call('HEAD', '/', { as: null });
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(String((await get('/')).bytes.byteLength));
  });

  test.each([
    ['/ui', '/'],
    ['/ui/', '/ui'],
    ['/docs/', '/docs'],
    ['/openapi.json/', '/openapi.json'],
  ])('%s leads to %s', async (from, to) => {
    const answer = await get(from);
    expect([answer.status, answer.headers.location]).toEqual([301, to]);
  });

  test.each(['/ui/index.html', '/index.html', '/favicon.ico'])('%s is 404', async (path) => {
    expect((await get(path)).status).toBe(404);
  });
});

describe('GET /docs', () => {
  test('is made of files of this server only', async () => {
    const page = await get('/docs');
    expect(page.status).toBe(200);
    expect(page.headers['content-security-policy']).toContain("default-src 'none'; script-src 'self';");
    expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(page.headers['referrer-policy']).toBe('no-referrer');
    expect(page.text).not.toMatch(/<script(?! src=)|<style|\son\w+=|\sstyle=/);
    const files = sources(page.text);
    expect(files).toHaveLength(4);
    const types = await Promise.all(
      files.map(async (file) => {
        expect(file).toMatch(/^docs\/[\w.-]+$/);
        const answer = await get(`/${file}`);
        expect(answer.headers['content-length']).toBe(String(answer.bytes.byteLength));
        expect(answer.headers['x-content-type-options']).toBe('nosniff');
        return [answer.status, answer.headers['content-type'], answer.bytes.byteLength > 0];
      }),
    );
    expect(types).toEqual([
      [200, 'image/png', true],
      [200, 'text/css; charset=utf-8', true],
      [200, 'text/javascript; charset=utf-8', true],
      [200, 'text/javascript; charset=utf-8', true],
    ]);
  });

  test('shows the description that is there', async () => {
    const script = (await get('/docs/start.js')).text;
    const url = /url: '([^']+)'/.exec(script)?.[1] ?? '';
    expect((await get(`/${url}`)).json()).toMatchObject({ openapi: '3.1.0' });
  });

  test.each([
    'swagger-ui.js',
    'index.html',
    '..%2Fpackage.json',
    '%2e%2e%2fpackage.json',
    'swagger-ui.css%00',
  ])('has no file %s', async (file) => {
    const answer = await get(`/docs/${file}`);
    expect([answer.status, answer.headers['content-type']]).toEqual([404, 'application/problem+json']);
  });
});
