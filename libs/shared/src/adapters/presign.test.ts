import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret } from '../config/index.ts';
import { isAppError, type AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { isObjectKey, type PresignRequest } from '../stores/index.ts';
import { createPresigner, type Presigner, type SignedRequest } from './presign.ts';

const start = Date.parse('2026-01-02T03:04:05.678Z');

function fixture(options: { key?: string; base?: string } = {}): {
  presigner: Presigner;
  time: { now: number };
} {
  const time = { now: start };
  const clock: Clock = { now: () => time.now, monotonic: () => time.now, sleep: async () => {} };
  const presigner = createPresigner({
    key: new Secret(options.key ?? 'k'.repeat(32)),
    baseUrl: () => options.base ?? 'http://localhost:8080',
    clock,
  });
  return { presigner, time };
}

function failure(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (isAppError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The request that a client makes of a URL, read as a server reads it. */
function requestOf(signed: {
  method: string;
  url: string;
  headers: Readonly<Record<string, string>>;
}): SignedRequest {
  const url = new URL(signed.url);
  const [bucket = '', ...rest] = url.pathname.replace(/^.*?\/objects\//, '').split('/');
  const headers = Object.fromEntries(
    Object.entries(signed.headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return {
    method: signed.method,
    bucket,
    key: decodeURIComponent(rest.join('/')),
    query: url.searchParams,
    headers,
  };
}

const upload: PresignRequest = {
  bucket: 'thumbnail',
  key: 'in/a photo+1%.jpg',
  operation: 'upload',
  expiresInSeconds: 900,
  contentType: 'image/jpeg',
  headers: { 'X-Amz-Meta-Who': 'me', 'Content-Length': '5' },
};

describe('createPresigner', () => {
  it('makes a URL for an upload and takes it back', () => {
    const { presigner } = fixture({ base: 'https://example.org/sluice/' });
    const signed = presigner.sign(upload);
    expect(signed.method).toBe('PUT');
    expect(signed.url).toMatch(
      /^https:\/\/example\.org\/sluice\/objects\/thumbnail\/in\/a%20photo%2B1%25\.jpg\?X-Sluice-Expires=\d+&X-Sluice-Headers=\S+&X-Sluice-Signature=[0-9a-f]{64}$/,
    );
    expect(signed.headers).toEqual({
      'Content-Type': 'image/jpeg',
      'X-Amz-Meta-Who': 'me',
      'Content-Length': '5',
    });
    expect(signed.expiresAt).toBe(Date.parse('2026-01-02T03:19:05.000Z'));
    expect(presigner.verify(requestOf(signed))).toEqual({
      operation: 'upload',
      bucket: 'thumbnail',
      key: 'in/a photo+1%.jpg',
      contentType: 'image/jpeg',
      expiresAt: signed.expiresAt,
    });
  });

  it('gives a download the content type of its answer', () => {
    const { presigner } = fixture();
    const signed = presigner.sign({
      bucket: 'abc',
      key: 'x',
      operation: 'download',
      expiresInSeconds: 1,
      contentType: 'text/x y',
    });
    expect(signed).toMatchObject({ method: 'GET', headers: {} });
    expect(presigner.verify(requestOf(signed))).toMatchObject({
      operation: 'download',
      contentType: 'text/x y',
    });
  });

  it('ends with its time, and says when that was', () => {
    const { presigner, time } = fixture();
    const signed = presigner.sign(upload);
    time.now = signed.expiresAt - 1;
    expect(presigner.verify(requestOf(signed)).operation).toBe('upload');
    time.now = signed.expiresAt;
    const error = failure(() => presigner.verify(requestOf(signed)));
    expect(error.code).toBe('forbidden');
    expect(error.message).toBe('The URL expired at 2026-01-02T03:19:05.000Z.');
  });

  it('tells apart what is missing', () => {
    const { presigner } = fixture();
    const request = requestOf(presigner.sign(upload));
    expect(failure(() => presigner.verify({ ...request, query: new URLSearchParams() })).message).toBe(
      'The URL is not signed.',
    );
    expect(
      failure(() =>
        presigner.verify({ ...request, headers: { ...request.headers, 'content-type': undefined } }),
      ).message,
    ).toContain('lacks the header "content-type"');
  });

  it.each([
    [{ ...upload, bucket: 'sluice-system' }, 'bucket'],
    [{ ...upload, key: '../x' }, 'key'],
    [{ ...upload, expiresInSeconds: 0 }, 'expiresInSeconds'],
    [{ ...upload, expiresInSeconds: 604_801 }, 'expiresInSeconds'],
    [{ ...upload, expiresInSeconds: 1.5 }, 'expiresInSeconds'],
    [{ ...upload, contentType: 'a\nb' }, 'contentType'],
    [{ ...upload, headers: { 'x y': 'a' } }, 'headers'],
    [{ ...upload, headers: { Host: 'a' } }, 'headers'],
    [{ ...upload, headers: { 'content-type': 'text/plain' } }, 'headers'],
    [{ ...upload, headers: { a: 'b\r\nc: d' } }, 'headers'],
    [
      { ...upload, headers: Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`x-${at}`, 'y'])) },
      'headers',
    ],
    [
      { bucket: 'abc', key: 'x', operation: 'download' as const, expiresInSeconds: 1, headers: { a: 'b' } },
      'headers',
    ],
  ])('refuses to sign %j', (request, field) => {
    expect(failure(() => fixture().presigner.sign(request))).toMatchObject({ code: 'invalid_input', field });
  });

  it('takes every URL it made, for any key and header', () => {
    const { presigner } = fixture();
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1 }).filter(isObjectKey),
        fc.stringMatching(/^[!-~]{1,20}$/),
        (key, value) => {
          const signed = presigner.sign({ ...upload, key, headers: { 'x-any': value } });
          expect(presigner.verify(requestOf(signed)).key).toBe(key);
        },
      ),
    );
  });

  it('refuses a request of which any part was changed', () => {
    const { presigner } = fixture();
    const good = requestOf(presigner.sign(upload));
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    const change = fc.oneof(
      fc.record({ method: fc.constantFrom('GET', 'put', 'POST', 'HEAD', 'DELETE', '') }),
      text.map((bucket) => ({ bucket })),
      text.map((key) => ({ key })),
      fc
        .tuple(fc.constantFrom('content-type', 'x-amz-meta-who', 'content-length'), fc.option(text))
        .map(([name, value]) => ({
          headers: { ...good.headers, [name]: value ?? undefined },
        })),
      fc
        .tuple(
          fc.constantFrom(...good.query.keys(), 'X-Sluice-Content-Type', 'other'),
          fc.option(text),
          fc.boolean(),
        )
        .map(([name, value, append]) => {
          const query = new URLSearchParams(good.query);
          if (value === null) query.delete(name);
          else if (append) query.append(name, value);
          else query.set(name, value);
          return { query };
        }),
      fc.tuple(fc.nat(63), fc.constantFrom('0', '1', 'f', 'F', 'g')).map(([at, digit]) => {
        const query = new URLSearchParams(good.query);
        const signature = query.get('X-Sluice-Signature') ?? '';
        query.set('X-Sluice-Signature', `${signature.slice(0, at)}${digit}${signature.slice(at + 1)}`);
        return { query };
      }),
    );
    const flat = (request: SignedRequest): string =>
      JSON.stringify([
        request.method,
        request.bucket,
        request.key,
        request.query.toString(),
        Object.entries(request.headers).filter(([, value]) => value !== undefined),
      ]);
    fc.assert(
      fc.property(change, (part) => {
        const request: SignedRequest = { ...good, ...part };
        fc.pre(flat(request) !== flat(good));
        expect(failure(() => presigner.verify(request)).code).toBe('forbidden');
      }),
      { numRuns: 1000 },
    );
    expect(presigner.verify(good).operation).toBe('upload');
  });

  it('refuses a URL of another key', () => {
    const signed = fixture({ key: 'a'.repeat(32) }).presigner.sign(upload);
    expect(failure(() => fixture().presigner.verify(requestOf(signed))).code).toBe('forbidden');
  });
});
