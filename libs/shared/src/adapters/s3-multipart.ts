import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { AppError } from '../errors/index.ts';
import { drain } from './s3-call.ts';
import type { S3Access } from './s3-client.ts';
import { fromS3Error } from './s3-errors.ts';

/** S3 takes so many parts. */
const maxParts = 10_000;

/** A part: its bytes, or exactly so many that come. */
export interface UploadPart {
  readonly length: number;
  readonly body: Buffer | Readable;
}

export interface MultipartOptions {
  /** Of the object: its type and metadata. */
  readonly headers: Readonly<Record<string, string>>;
  /** `if-match`, `if-none-match`: decided when the upload is completed. */
  readonly conditions: Readonly<Record<string, string>>;
  /** Bytes that all parts must have together. */
  readonly size?: number;
}

/**
 * Uploads a body part by part, one at a time; the object appears when all are there, and what was sent goes when it does not.
 * @returns the etag
 */
export async function multipartUpload(
  s3: S3Access,
  place: { readonly bucket: string; readonly key: string },
  parts: AsyncIterable<UploadPart>,
  options: MultipartOptions,
): Promise<string> {
  const { bucket, key } = place;
  const what = `write the object ${key}`;
  let id: string | undefined;
  try {
    id = await s3.client.initiateNewMultipartUpload(bucket, key, { ...options.headers });
    const etags = await sendParts(s3, place, id, parts, options.size);
    return await complete(s3, place, id, etags, options.conditions);
  } catch (error) {
    // What remains of it is the server's to clean up where this fails, too.
    if (id !== undefined) await s3.client.abortMultipartUpload(bucket, key, id).catch(() => undefined);
    throw fromS3Error(error, what);
  }
}

async function sendParts(
  s3: S3Access,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  uploadID: string,
  parts: AsyncIterable<UploadPart>,
  size: number | undefined,
): Promise<readonly string[]> {
  const etags: string[] = [];
  let bytes = 0;
  for await (const part of parts) {
    bytes += part.length;
    if (size !== undefined && bytes > size) throw wrongSize(size);
    if (etags.length === maxParts) {
      throw new AppError(
        'too_large',
        `A body has at most ${maxParts} parts: say its size, so that they can be larger.`,
      );
    }
    const query = `partNumber=${etags.length + 1}&uploadId=${encodeURIComponent(uploadID)}`;
    const answer = await s3.client.makeRequestStreamAsync(
      {
        method: 'PUT',
        bucketName: bucket,
        objectName: key,
        query,
        headers: { 'content-length': String(part.length) },
      },
      part.body,
      '',
      [200],
      s3.region,
    );
    await drain(answer);
    etags.push((answer.headers.etag ?? '').replaceAll('"', ''));
  }
  if (size !== undefined && bytes !== size) throw wrongSize(size);
  return etags;
}

/** By hand: the package cannot complete an upload under a condition. */
async function complete(
  s3: S3Access,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  uploadId: string,
  etags: readonly string[],
  conditions: Readonly<Record<string, string>>,
): Promise<string> {
  const list = etags.map(
    (etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>"${etag}"</ETag></Part>`,
  );
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list.join('')}</CompleteMultipartUpload>`;
  const answer = await s3.client.makeRequestAsync(
    {
      method: 'POST',
      bucketName: bucket,
      objectName: key,
      query: `uploadId=${encodeURIComponent(uploadId)}`,
      headers: { ...conditions },
    },
    xml,
    [200],
    s3.region,
  );
  const text = (await buffer(answer)).toString();
  const etag = /<ETag>(?:"|&#34;|&quot;)?([^<&"]+)/.exec(text)?.[1];
  // The status is sent before the parts are put together: what goes wrong then is told in the body.
  if (etag === undefined || text.includes('<Error>')) {
    const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? 'no etag';
    throw new AppError('unavailable', `The S3 server did not put the parts of ${key} together (${code}).`);
  }
  return etag;
}

export function wrongSize(size: number): AppError {
  return new AppError('invalid_input', `The body has not the announced size of ${size} bytes.`, {
    field: 'size',
  });
}
