import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { AppError, isAppError } from '../errors/index.ts';
import { checkObjectHeaders, type ObjectHead, type PutOptions } from '../stores/index.ts';
import { drain } from './s3-call.ts';
import type { S3Access } from './s3-client.ts';
import { defaultContentType } from './default-content-type.ts';
import { fromS3Error } from './s3-errors.ts';
import { s3Identity } from '../contracts/index.ts';
import { listOne } from './s3-listing.ts';
import { multipartUpload, wrongSize, type UploadPart } from './s3-multipart.ts';
import { checkPlace } from './s3-names.ts';

/** Bodies whose size nobody told are held up to this, then sent in parts. */
const partBytes = 16 * 1024 * 1024;
/** Larger ones go in parts in any case: S3 takes 5 GiB in one piece. */
const defaultOnePieceBytes = 4 * 1024 * 1024 * 1024;
/** Parts of a body whose size is known: none of them is held in memory. */
const streamedPartBytes = 512 * 1024 * 1024;

/** Writes one object; it is there as a whole or not at all. */
export async function putS3Object(
  s3: S3Access,
  place: { readonly bucket: string; readonly key: string },
  body: Readable | Uint8Array,
  options: PutOptions,
): Promise<ObjectHead> {
  const { bucket, key } = place;
  checkPlace(bucket, key);
  checkObjectHeaders(options);
  if (hasLeft(options)) throw cancelled();
  const what = `write the object ${key}`;
  if (body instanceof Uint8Array) {
    checkSize(body.byteLength, options.size);
    checkMarker(key, body.byteLength);
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return written(s3, place, options, await sendWhole(s3, place, bytes, bytes.length, options, what));
  }
  try {
    return await putStream(s3, place, body, options, what);
  } catch (error) {
    throw hasLeft(options) ? cancelled() : fromS3Error(error, what);
  }
}

async function putStream(
  s3: S3Access,
  place: { readonly bucket: string; readonly key: string },
  body: Readable,
  options: PutOptions,
  what: string,
): Promise<ObjectHead> {
  const { size } = options;
  await checkBefore(s3, place, options);
  const chunks = chunksOf(body, options.signal, s3.onBytes);
  const { onePieceBytes = defaultOnePieceBytes } = s3;
  if (size !== undefined && size > 0) checkMarker(place.key, size);
  if (size !== undefined && size > onePieceBytes) {
    const parts = streamedParts(chunks, size, Math.min(streamedPartBytes, onePieceBytes));
    return written(s3, place, options, await sendInParts(s3, place, parts, options));
  }
  if (size !== undefined && size > 0) {
    const stream = Readable.from(exactly(chunks, size), { objectMode: false });
    return written(s3, place, options, await sendWhole(s3, place, stream, size, options, what));
  }
  const parts = partsOf(chunks, partBytes);
  const first = await nextPart(parts);
  const second = first === undefined ? undefined : await nextPart(parts);
  if (second === undefined) {
    const bytes = first ?? Buffer.alloc(0);
    checkSize(bytes.length, size);
    checkMarker(place.key, bytes.length);
    return written(s3, place, options, await sendWhole(s3, place, bytes, bytes.length, options, what));
  }
  checkMarker(place.key, partBytes);
  const rest = chain([first ?? Buffer.alloc(0), second], parts);
  return written(s3, place, options, await sendInParts(s3, place, wholeParts(rest), options));
}

/** @returns the etag */
async function sendInParts(
  s3: S3Access,
  place: { readonly bucket: string; readonly key: string },
  parts: AsyncIterable<UploadPart>,
  options: PutOptions,
): Promise<string> {
  return multipartUpload(s3, place, parts, {
    headers: headersOf(place.key, options),
    conditions: conditionsOf(options),
    ...(options.size === undefined ? {} : { size: options.size }),
  });
}

/**
 * What would be refused in the end is refused before the body is read: a server that answers in the middle of a body closes the connection, and its
 * answer may be lost with it.
 */
async function checkBefore(
  s3: S3Access,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  options: PutOptions,
): Promise<void> {
  const current = await listOne(s3, bucket, key);
  const { ifMatch, ifNoneMatch } = options;
  const differs = ifMatch !== undefined && ifMatch !== current?.etag;
  if (differs || (ifNoneMatch === '*' && current !== undefined)) {
    throw new AppError('precondition_failed', `Cannot write the object ${key}: it is in another state.`);
  }
}

/** @returns the etag */
async function sendWhole(
  s3: S3Access,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  body: Buffer | Readable,
  size: number,
  options: PutOptions,
  what: string,
): Promise<string> {
  try {
    const answer = await s3.client.makeRequestStreamAsync(
      {
        method: 'PUT',
        bucketName: bucket,
        objectName: key,
        headers: {
          ...headersOf(key, options),
          ...conditionsOf(options),
          'content-length': String(size),
        },
      },
      body,
      '',
      [200],
      s3.region,
    );
    await drain(answer);
    return etagOf(answer.headers);
  } catch (error) {
    throw fromS3Error(missingBefore(error, options), what);
  }
}

/** A server may answer `If-Match` on an object that is not there with "no such key": the expected state is not there either. */
function missingBefore(error: unknown, options: PutOptions): unknown {
  const known = fromS3Error(error, 'write the object');
  if (
    options.ifMatch === undefined ||
    known.code !== 'not_found' ||
    known.details['s3_code'] === 'NoSuchBucket'
  )
    return error;
  return new AppError('precondition_failed', 'The object is not in the expected state: it is not there.', {
    cause: error,
  });
}

function headersOf(key: string, options: PutOptions): Record<string, string> {
  const named = Object.entries(options.metadata ?? {}).map(([name, value]) => [`x-amz-meta-${name}`, value]);
  return { 'content-type': options.contentType ?? defaultContentType(key), ...Object.fromEntries(named) };
}

function conditionsOf({ ifMatch, ifNoneMatch }: PutOptions): Record<string, string> {
  return {
    ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
    ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
  };
}

function etagOf(headers: IncomingHttpHeaders): string {
  return (headers.etag ?? '').replaceAll('"', '');
}

/** What was written, with its exact time, which the answer to a PUT does not tell. */
async function written(
  s3: S3Access,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  options: PutOptions,
  etag: string,
): Promise<ObjectHead> {
  const more = {
    contentType: options.contentType ?? defaultContentType(key),
    metadata: options.metadata ?? {},
  };
  const listed = await listOne(s3, bucket, key);
  if (listed?.etag === etag) return { ...listed, ...more };
  // Overwritten or removed already: nobody will meet this state again.
  const at = listed?.lastModified ?? 0;
  const identity = s3Identity({ etag, lastModifiedMs: BigInt(at) });
  return { bucket, key, size: options.size ?? 0, etag, identity, lastModified: at, changedAt: at, ...more };
}

/**
 * The pieces of a body. Ends at once when the writer has gone, also while the body hangs. Where nobody wants the rest, the body is left undestroyed, so that
 * an answer can still be sent over a request's connection.
 */
async function* chunksOf(
  body: Readable,
  signal: AbortSignal | undefined,
  onBytes: S3Access['onBytes'],
): AsyncGenerator<Buffer> {
  // One promise for each piece: a race against a promise that lasts would keep every piece for as long.
  let fail: (reason: AppError) => void = () => undefined;
  const leave = (): void => {
    fail(cancelled());
    body.destroy();
  };
  signal?.addEventListener('abort', leave, { once: true });
  const chunks = body.iterator({ destroyOnReturn: false });
  const nextChunk = async (): Promise<IteratorResult<unknown>> => {
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<unknown>>();
    fail = reject;
    if (signal?.aborted === true) throw cancelled();
    chunks.next().then(resolve, reject);
    return promise;
  };
  try {
    for (;;) {
      const next = await nextChunk();
      if (next.done === true) return;
      const chunk = typeof next.value === 'string' ? Buffer.from(next.value) : (next.value as Uint8Array);
      onBytes?.(chunk.byteLength);
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
  } catch (error) {
    throw broken(error);
  } finally {
    signal?.removeEventListener('abort', leave);
    if (signal?.aborted !== true) await chunks.return?.();
  }
}

/**
 * Passes exactly so many bytes on, else fails. A piece goes only when the next one or the end has come: with the last announced byte the server has
 * a whole object, and stores it whatever follows.
 */
async function* exactly(chunks: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer> {
  let seen = 0;
  let held: Buffer | undefined;
  for await (const chunk of chunks) {
    seen += chunk.length;
    if (seen > size) throw wrongSize(size);
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (seen !== size) throw wrongSize(size);
  if (held !== undefined) yield held;
}

/** Pieces of the given size, the last one smaller. */
async function* partsOf(chunks: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    bytes += chunk.length;
    while (bytes >= size) {
      const whole = Buffer.concat(held, bytes);
      yield whole.subarray(0, size);
      held = [whole.subarray(size)];
      bytes -= size;
    }
  }
  if (bytes > 0) yield Buffer.concat(held, bytes);
}

async function* wholeParts(parts: AsyncIterable<Buffer>): AsyncGenerator<UploadPart> {
  for await (const bytes of parts) yield { length: bytes.length, body: bytes };
}

/** Parts of a body of a known size, each read while it is sent; they must be taken one after the other. */
async function* streamedParts(
  chunks: AsyncGenerator<Buffer>,
  size: number,
  partSize: number,
): AsyncGenerator<UploadPart> {
  let rest: Buffer | undefined;
  const piecesOf = async function* (length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0;) {
      const piece: Buffer | undefined = rest ?? (await nextPart(chunks));
      if (piece === undefined) throw wrongSize(size);
      const now = piece.subarray(0, left);
      rest = now.length < piece.length ? piece.subarray(left) : undefined;
      left -= now.length;
      yield now;
    }
  };
  for (let left = size; left > 0; left -= partSize) {
    const length = Math.min(left, partSize);
    yield { length, body: Readable.from(piecesOf(length), { objectMode: false }) };
  }
  if (rest !== undefined || (await nextPart(chunks)) !== undefined) throw wrongSize(size);
}

async function nextPart(parts: AsyncGenerator<Buffer>): Promise<Buffer | undefined> {
  const next = await parts.next();
  return next.done === true ? undefined : next.value;
}

async function* chain(first: readonly Buffer[], rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield* first;
  yield* rest;
}

function checkSize(size: number, expected: number | undefined): void {
  if (expected !== undefined && expected !== size) throw wrongSize(expected);
}

function checkMarker(key: string, size: number): void {
  if (key.endsWith('/') && size > 0) {
    throw new AppError('invalid_input', 'A key that ends with a slash is a folder marker and has no bytes.', {
      field: 'key',
    });
  }
}

function hasLeft({ signal }: PutOptions): boolean {
  return signal?.aborted === true;
}

function cancelled(): AppError {
  return new AppError('cancelled', 'The writer has gone.');
}

function broken(error: unknown): AppError {
  if (isAppError(error)) return error;
  return new AppError('cancelled', 'The body broke off.', { cause: error });
}
