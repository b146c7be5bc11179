import http from 'node:http';
import https from 'node:https';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { getCACertificates } from 'node:tls';
import { AppError, isAppError } from '../errors/index.ts';
import { encodeObjectKey, type ObjectStore } from '../stores/index.ts';
import { drain } from './s3-call.ts';
import { textOf } from './s3-xml.ts';
import type { S3Access, S3Requests } from './s3-client.ts';
import { createS3Readers } from './s3-get.ts';
import { createS3Listing } from './s3-listing.ts';
import { checkPlace } from './s3-names.ts';
import { putS3Object } from './s3-put.ts';
import { signS3 } from './s3-signing.ts';
import { call } from './s3-call.ts';

/** Keys that may be short-lived. */
export interface S3Keys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string | undefined;
}

export interface LeanS3Options {
  readonly endpoint: URL;
  readonly region: string;
  readonly verify: boolean;
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  /** Asked before each request. @throws AppError `unavailable` where there are none (any more) */
  readonly keys: () => Promise<S3Keys>;
  /** Epoch milliseconds, for signatures: a server takes them for 15 minutes. */
  readonly now: () => number;
  /** Milliseconds without a byte in either direction after which a request is given up. @default 30000 */
  readonly silenceMs?: number;
  /** Told of bytes of bodies that came or went: what held them may be given back. */
  readonly onBytes?: (count: number) => void;
  /** Larger bodies go in parts. @default 4 GiB */
  readonly onePieceBytes?: number;
}

export interface LeanS3Store extends Pick<ObjectStore, 'head' | 'get' | 'put' | 'list' | 'remove'> {
  /** Cuts the connections. */
  close(): void;
}

/** Of a server's error answer. */
const maxErrorBytes = 65_536;
const maxSockets = 16;

/**
 * Objects on an S3 server for a program that has to start at once and stay small: a tenth of the memory of the package that `createS3ObjectStore` takes, without what is done
 * to buckets, and with keys that may change under way.
 */
export function createLeanS3Store(options: LeanS3Options): LeanS3Store {
  const { client, close } = createRequests(options);
  const { region, onBytes, onePieceBytes } = options;
  const s3: S3Access = { client, region, onBytes, onePieceBytes };
  const { list } = createS3Listing(s3);
  return {
    ...createS3Readers(s3),
    list,
    put: async (bucket, key, body, put = {}) => putS3Object(s3, { bucket, key }, body, put),
    remove: async (bucket, key) => {
      checkPlace(bucket, key);
      await call(`remove the object ${key}`, async () =>
        drain(
          await client.makeRequestAsync(
            { method: 'DELETE', bucketName: bucket, objectName: key },
            '',
            [200, 204],
          ),
        ),
      );
    },
    close,
  };
}

interface Sending {
  readonly method: string;
  readonly bucketName?: string;
  readonly objectName?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, unknown>>;
}

type Send = (
  sending: Sending,
  body: Readable | Uint8Array | string,
  statuses: readonly number[],
) => Promise<http.IncomingMessage>;

function createRequests(options: LeanS3Options): { readonly client: S3Requests; readonly close: () => void } {
  const secure = options.endpoint.protocol === 'https:';
  const agent = secure
    ? new https.Agent({
        keepAlive: true,
        maxSockets,
        rejectUnauthorized: options.verify,
        ...(options.ca === undefined ? {} : { ca: [...getCACertificates('default'), options.ca] }),
      })
    : new http.Agent({ keepAlive: true, maxSockets });
  const send: Send = async (sending, body, statuses) => {
    const keys = await options.keys();
    const { method, query = '' } = sending;
    const path = pathOf(sending);
    const headers = signS3(keys, {
      method,
      host: options.endpoint.host,
      path,
      query,
      headers: textsOf(sending.headers ?? {}),
      region: options.region,
      at: options.now(),
    });
    const url = `${options.endpoint.origin}${path}${query === '' ? '' : `?${query}`}`;
    const request = (secure ? https : http).request(url, { method, headers, agent });
    const answer = await exchange(request, body, options.silenceMs ?? 30_000);
    if (statuses.includes(answer.statusCode ?? 0)) return answer;
    throw await errorOf(answer);
  };
  return { client: requestsBy(send), close: () => agent.destroy() };
}

function pathOf({ bucketName = '', objectName }: Sending): string {
  return `/${bucketName}${objectName === undefined ? '' : `/${encodeObjectKey(objectName)}`}`;
}

function textsOf(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}

async function exchange(
  request: http.ClientRequest,
  body: Readable | Uint8Array | string,
  silenceMs: number,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  request.once('response', resolve);
  request.once('error', reject);
  request.setTimeout(silenceMs, () => {
    request.destroy(Object.assign(new Error(`nothing came for ${silenceMs} ms`), { code: 'ETIMEDOUT' }));
  });
  if (!(body instanceof Readable)) request.end(body);
  // An answer may come before the body is through, and says more than the connection's end that follows it.
  else pipeline(body, request).catch((error: unknown) => setImmediate(() => reject(error)));
  return promise;
}

function requestsBy(send: Send): S3Requests {
  return {
    makeRequestAsync: async (sending, body = '', statuses = [200]) => {
      const text = body as string | Uint8Array;
      return send(text.length === 0 ? sending : withLength(sending, text), text, statuses);
    },
    makeRequestStreamAsync: async (sending, body, _hash, statuses) => send(sending, body, statuses),
    bucketExists: async (bucketName) => {
      try {
        await drain(await send({ method: 'HEAD', bucketName }, '', [200]));
        return true;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'NotFound') return false;
        throw error;
      }
    },
    initiateNewMultipartUpload: async (bucketName, objectName, headers) => {
      const sending = { method: 'POST', bucketName, objectName, query: 'uploads=', headers };
      const id = textOf((await buffer(await send(sending, '', [200]))).toString(), 'UploadId');
      if (id === undefined) throw new AppError('unavailable', 'The S3 server did not begin the upload.');
      return id;
    },
    abortMultipartUpload: async (bucketName, objectName, uploadId) => {
      const query = `uploadId=${encodeURIComponent(uploadId)}`;
      await drain(await send({ method: 'DELETE', bucketName, objectName, query }, '', [200, 204]));
    },
  };
}

function withLength(sending: Sending, body: string | Uint8Array): Sending {
  return { ...sending, headers: { ...sending.headers, 'content-length': Buffer.byteLength(body) } };
}

/** What a HEAD's answer says by its status alone. */
const statusCodes: Readonly<Record<number, string>> = {
  403: 'AccessDenied',
  404: 'NotFound',
  412: 'PreconditionFailed',
};

/** An error with the server's code, in the form that `fromS3Error` knows. */
async function errorOf(answer: http.IncomingMessage): Promise<Error> {
  let text = '';
  try {
    for await (const chunk of answer) {
      text += String(chunk);
      if (text.length > maxErrorBytes) break;
    }
  } catch (error) {
    if (isAppError(error)) throw error;
    // The status is known.
  }
  const status = answer.statusCode ?? 0;
  const code = textOf(text, 'Code') ?? statusCodes[status] ?? `HTTP ${status}`;
  const amzRequestid = answer.headers['x-amz-request-id'] ?? '';
  return Object.assign(new Error(`the S3 server answered ${status}`), { code, amzRequestid });
}
