import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { addAbortSignal, Transform, pipeline, type Readable } from 'node:stream';
import { AppError, isAppError } from '../errors/index.ts';
import type { ObjectHead, ObjectInfo, ObjectStore } from '../stores/index.ts';
import { call, drain } from './s3-call.ts';
import type { S3Access } from './s3-client.ts';
import { fromS3Error } from './s3-errors.ts';
import { s3Identity } from '../contracts/index.ts';
import { listOne } from './s3-listing.ts';
import { checkPlace } from './s3-names.ts';

/** How often an object that is overwritten again and again is looked at before its time is taken as it is. */
const looks = 4;
const metadataPrefix = 'x-amz-meta-';

export function createS3Readers(s3: S3Access): Pick<ObjectStore, 'head' | 'get'> {
  return {
    head: async (bucket, key) => {
      checkPlace(bucket, key);
      for (let look = 1; ; look += 1) {
        // Side by side: the answer is late only if both are.
        const [headers, listed] = await Promise.all([headersOf(s3, bucket, key), listOne(s3, bucket, key)]);
        if (headers === undefined) return undefined;
        const exact = listed !== undefined && isSameState(headers, listed) ? listed : undefined;
        if (exact !== undefined || look === looks) return headOf(bucket, key, headers, exact);
      }
    },
    get: async (bucket, key, options = {}) => {
      checkPlace(bucket, key);
      if (options.signal?.aborted === true) throw new AppError('cancelled', 'The reader has gone.');
      for (let look = 1; ; look += 1) {
        const answer = await open(s3, bucket, key, options.ifMatch);
        try {
          const listed = await listOne(s3, bucket, key);
          const exact = listed !== undefined && isSameState(answer.headers, listed) ? listed : undefined;
          if (exact !== undefined || look === looks) {
            return {
              info: headOf(bucket, key, answer.headers, exact),
              body: bodyOf(s3, answer, key, options.signal),
            };
          }
        } catch (error) {
          answer.destroy();
          throw error;
        }
        answer.destroy();
      }
    },
  };
}

async function headersOf(
  s3: S3Access,
  bucket: string,
  key: string,
): Promise<IncomingHttpHeaders | undefined> {
  try {
    return await call(`look at the object ${key}`, async () => {
      const answer = await s3.client.makeRequestAsync(
        { method: 'HEAD', bucketName: bucket, objectName: key },
        '',
        [200],
        s3.region,
      );
      await drain(answer);
      return answer.headers;
    });
  } catch (error) {
    // A bucket that is not there has no objects either; HEAD has no body that would tell the two apart.
    if (isAppError(error, 'not_found')) return undefined;
    throw error;
  }
}

async function open(
  s3: S3Access,
  bucket: string,
  key: string,
  ifMatch: string | undefined,
): Promise<IncomingMessage> {
  return call(`read the object ${key}`, async () =>
    s3.client.makeRequestAsync(
      {
        method: 'GET',
        bucketName: bucket,
        objectName: key,
        headers: ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` },
      },
      '',
      [200],
      s3.region,
    ),
  );
}

/** The bytes; what breaks on the way is an `AppError`, and so is an end before all of them came. */
function bodyOf(
  { onBytes }: S3Access,
  answer: IncomingMessage,
  key: string,
  signal: AbortSignal | undefined,
): Readable {
  const body = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      onBytes?.(chunk.length);
      done(null, chunk);
    },
  });
  pipeline(answer, body, (error) => {
    if (error !== null && error !== undefined && !body.destroyed)
      body.destroy(fromS3Error(error, `read the object ${key}`));
  });
  return signal === undefined ? body : addAbortSignal(signal, body);
}

/** Whether a listing and an answer speak of the same state: HEAD and GET tell whole seconds only. */
function isSameState(headers: IncomingHttpHeaders, listed: ObjectInfo): boolean {
  const seconds = Math.floor(Date.parse(headers['last-modified'] ?? '') / 1000);
  return etagOf(headers) === listed.etag && seconds === Math.floor(listed.lastModified / 1000);
}

function etagOf(headers: IncomingHttpHeaders): string {
  return (headers.etag ?? '').replaceAll('"', '');
}

function headOf(
  bucket: string,
  key: string,
  headers: IncomingHttpHeaders,
  listed: ObjectInfo | undefined,
): ObjectHead {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(metadataPrefix) && typeof value === 'string')
      metadata[name.slice(metadataPrefix.length)] = value;
  }
  const contentType = headers['content-type'] ?? 'application/octet-stream';
  if (listed !== undefined) return { ...listed, contentType, metadata };
  const etag = etagOf(headers);
  const lastModified = Date.parse(headers['last-modified'] ?? '') || 0;
  return {
    bucket,
    key,
    size: Number(headers['content-length'] ?? 0),
    etag,
    identity: s3Identity({ etag, lastModifiedMs: BigInt(lastModified) }),
    lastModified,
    changedAt: lastModified,
    contentType,
    metadata,
  };
}
