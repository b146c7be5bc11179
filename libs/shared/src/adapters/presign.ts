import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../config/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import {
  checkBucketName,
  checkObjectHeaders,
  checkObjectKey,
  encodeObjectKey,
  type PresignedUrl,
  type PresignRequest,
} from '../stores/index.ts';

const parameters = {
  expires: 'X-Sluice-Expires',
  headers: 'X-Sluice-Headers',
  contentType: 'X-Sluice-Content-Type',
  signature: 'X-Sluice-Signature',
} as const;

const maxExpirySeconds = 604_800;
const maxHeaders = 32;
const maxHeaderBytes = 8192;
const headerName = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
const headerValue = /^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/;
/** Headers that proxies and clients rewrite, so that a signature over them would never hold. */
const unsignable = new Set([
  'connection',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A request as it came, its path decoded once. */
export interface SignedRequest {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  /** Parsed from the URL as it came: `new URL(request.url, 'http://localhost').searchParams`. */
  readonly query: URLSearchParams;
  /** Lower-case names, as Node gives them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** What a valid URL allows. */
export interface PresignGrant {
  readonly operation: 'upload' | 'download';
  readonly bucket: string;
  readonly key: string;
  /** Upload: what the object's type becomes; download: what the answer must carry. */
  readonly contentType?: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** Makes URLs that allow one method on one object for a while, and checks them. */
export interface Presigner {
  /**
   * @throws AppError `invalid_input` with `field` (`bucket`, `key`, `expiresInSeconds`, `contentType`, `headers`)
   */
  sign(request: PresignRequest): PresignedUrl;
  /**
   * Constant time over the signature.
   * @throws AppError `forbidden`, with a message for each of: not signed, a signed header absent, changed, expired
   */
  verify(request: SignedRequest): PresignGrant;
}

/** All that is signed. */
interface Claims {
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  /** Epoch seconds, as in the URL. */
  readonly expires: string;
  /** Download: the answer's content type. */
  readonly contentType: string | undefined;
  /** Sorted by name. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/**
 * HMAC-SHA256 over method, bucket, key, expiry, content type and required headers (OSCAR §1.7: an upload's content type
 * is a header that the request must carry, a download's is the answer's).
 * @param deps.key at least 32 random bytes in text form; whoever has it can sign
 * @param deps.baseUrl address that clients reach the server by, a path allowed; asked anew for each URL
 */
export function createPresigner(deps: { key: Secret; baseUrl: () => string; clock: Clock }): Presigner {
  const signatureOf = (claims: Claims): Buffer =>
    createHmac('sha256', deps.key.reveal()).update(canonical(claims)).digest();
  return {
    sign: (request) => {
      checkPresignRequest(request);
      const claims = claimsOf(request, deps.clock.now());
      const query = queryOf(claims);
      query.append(parameters.signature, signatureOf(claims).toString('hex'));
      const base = deps.baseUrl().replace(/\/+$/, '');
      return {
        method: request.operation === 'upload' ? 'PUT' : 'GET',
        url: `${base}/objects/${request.bucket}/${encodeObjectKey(request.key)}?${query.toString()}`,
        expiresAt: Number(claims.expires) * 1000,
        headers: requiredHeaders(request),
      };
    },
    verify: (request) => {
      const { claims, signature } = readClaims(request);
      if (!timingSafeEqual(signatureOf(claims), signature)) throw changed();
      const expiresAt = Number(claims.expires) * 1000;
      if (deps.clock.now() >= expiresAt) {
        throw forbidden(`The URL expired at ${new Date(expiresAt).toISOString()}.`);
      }
      return grantOf(claims, expiresAt);
    },
  };
}

/** Unambiguous: JSON quotes each part, so that no two different sets of claims give one text. */
function canonical(claims: Claims): string {
  const { method, bucket, key, expires, contentType, headers } = claims;
  return JSON.stringify(['sluice-presign-v1', method, bucket, key, expires, contentType ?? null, headers]);
}

function claimsOf(request: PresignRequest, now: number): Claims {
  const upload = request.operation === 'upload';
  return {
    method: upload ? 'PUT' : 'GET',
    bucket: request.bucket,
    key: request.key,
    expires: String(Math.floor(now / 1000) + request.expiresInSeconds),
    contentType: upload ? undefined : request.contentType,
    headers: Object.entries(requiredHeaders(request))
      .map(([name, value]) => [name.toLowerCase(), value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}

/** Headers by the names they were given. A download's content type is a parameter, not a header. */
export function requiredHeaders(request: PresignRequest): Readonly<Record<string, string>> {
  if (request.operation === 'download') return {};
  return request.contentType === undefined
    ? { ...request.headers }
    : { 'Content-Type': request.contentType, ...request.headers };
}

function queryOf(claims: Claims): URLSearchParams {
  const query = new URLSearchParams({ [parameters.expires]: claims.expires });
  if (claims.contentType !== undefined) query.append(parameters.contentType, claims.contentType);
  if (claims.headers.length > 0)
    query.append(parameters.headers, claims.headers.map(([name]) => name).join(';'));
  return query;
}

export function checkPresignRequest(request: PresignRequest): void {
  checkBucketName(request.bucket);
  checkObjectKey(request.key);
  const seconds = request.expiresInSeconds;
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > maxExpirySeconds) {
    throw invalid('expiresInSeconds', `The URL's life must be 1 to ${maxExpirySeconds} seconds`);
  }
  if (request.contentType !== undefined) checkObjectHeaders({ contentType: request.contentType });
  checkHeaders(request);
}

function checkHeaders(request: PresignRequest): void {
  const entries = Object.entries(request.headers ?? {});
  if (request.operation === 'download' && entries.length > 0) {
    throw invalid('headers', 'Only the URL of an upload can require headers');
  }
  if (entries.length > maxHeaders) throw invalid('headers', `At most ${maxHeaders} headers can be required`);
  const seen = new Set(request.contentType === undefined ? [] : ['content-type']);
  let bytes = 0;
  for (const [given, value] of entries) {
    const name = given.toLowerCase();
    bytes += name.length + value.length;
    if (!headerName.test(name) || unsignable.has(name))
      throw invalid('headers', `The header "${given}" cannot be required`);
    if (!headerValue.test(value))
      throw invalid('headers', `The value of the header "${given}" is not plain ASCII`);
    if (seen.has(name)) throw invalid('headers', `The header "${given}" is given twice`);
    seen.add(name);
  }
  if (bytes > maxHeaderBytes)
    throw invalid('headers', `The required headers have more than ${maxHeaderBytes} bytes`);
}

function invalid(field: string, message: string): AppError {
  return new AppError('invalid_input', `${message}.`, { field });
}

function readClaims(request: SignedRequest): { claims: Claims; signature: Buffer } {
  const { query, method, bucket, key } = request;
  const expires = one(query, parameters.expires);
  const signature = one(query, parameters.signature);
  if (expires === undefined || signature === undefined) throw forbidden('The URL is not signed.');
  const known = new Set<string>(Object.values(parameters));
  // A parameter that is not signed could be given a meaning one day: there is none.
  if ([...query.keys()].some((name) => !known.has(name))) throw changed();
  // Also keeps `timingSafeEqual`, which wants equal lengths, and `Number` from odd texts.
  if (!/^[0-9a-f]{64}$/.test(signature) || !/^[0-9]{1,12}$/.test(expires)) throw changed();
  return {
    claims: {
      method,
      bucket,
      key,
      expires,
      contentType: one(query, parameters.contentType),
      headers: readHeaders(request, one(query, parameters.headers)),
    },
    signature: Buffer.from(signature, 'hex'),
  };
}

function readHeaders(request: SignedRequest, names: string | undefined): (readonly [string, string])[] {
  if (names === undefined) return [];
  const list = names.split(';');
  // One more for the content type.
  if (list.length > maxHeaders + 1) throw changed();
  return list.map((name) => {
    const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined;
    if (value === undefined)
      throw forbidden(`The request lacks the header "${name}", which its URL requires.`);
    return [name, typeof value === 'string' ? value : value.join(', ')] as const;
  });
}

function one(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name);
  if (values.length > 1) throw changed();
  return values[0];
}

function grantOf(claims: Claims, expiresAt: number): PresignGrant {
  const { method, bucket, key } = claims;
  const upload = method === 'PUT';
  const contentType = upload
    ? claims.headers.find(([name]) => name === 'content-type')?.[1]
    : claims.contentType;
  return {
    operation: upload ? 'upload' : 'download',
    bucket,
    key,
    ...(contentType === undefined ? {} : { contentType }),
    expiresAt,
  };
}

function changed(): AppError {
  return forbidden(
    'The URL is not valid for this request: its method, path, parameters or headers are not those that were signed.',
  );
}

function forbidden(message: string): AppError {
  return new AppError('forbidden', message);
}
