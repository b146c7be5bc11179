import { createHash } from 'node:crypto';
import { closeSync, read, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { isAppError } from '@sluice/shared/errors';
import type { ObjectHead, PutOptions } from '@sluice/shared/stores';
import { AttemptStop, stopForStore } from '../domain/attempt-stop.ts';
import type { UploadTask } from '../domain/outputs.ts';
import { printable } from '../domain/text.ts';
import { decideUpload, outputMetadata } from '../domain/upload-decision.ts';
import { openOutput, type OutputFile } from '../files/output-files.ts';
import type { UploadDeps } from './upload-outputs.ts';

/** Bytes that are read at once from a large file. */
const pieceBytes = 256 * 1024;
/** Milliseconds before the second try; then twice as long each time. */
const firstWaitMs = 100;

interface Content {
  readonly sha256: string;
  readonly size: number;
  /** Small: the bytes. */
  readonly bytes: Uint8Array | undefined;
  readonly fd: number;
}

/**
 * Uploads one file, so that repeating it changes nothing. The hash must be known before the first byte is sent: it travels as metadata, for the
 * attempt that may come after this one to compare with. So a large file is read twice; the second time it comes from memory mostly, and hashing
 * takes 0.7 s per GiB.
 * @returns undefined where the file is no longer the one that was listed
 * @throws AttemptStop `superseded`, `output_failed`, `store_unavailable`, `storage_full`
 */
export async function uploadFile(
  deps: UploadDeps,
  task: UploadTask<OutputFile>,
): Promise<ObjectHead | undefined> {
  const opened = openOutput(deps.outputDir, task.file);
  if (opened.kind === 'skipped') {
    deps.log.line('WARNING', `the output "${task.file.name}" is not uploaded: ${opened.reason}`);
    return undefined;
  }
  try {
    const small = opened.size <= deps.limits.smallFileBytes;
    const content = small ? readSmall(opened.fd, opened.size) : await hashLarge(opened.fd, deps.signal);
    return await store(deps, task, content);
  } finally {
    closeSync(opened.fd);
  }
}

/** Synchronous: see `makeWorkFolder`. A regular file this small that was just written is in memory. */
function readSmall(fd: number, size: number): Content {
  const buffer = Buffer.allocUnsafe(size);
  let filled = 0;
  while (filled < size) {
    const count = readSync(fd, buffer, filled, size - filled, filled);
    if (count === 0) break;
    filled += count;
  }
  const bytes = buffer.subarray(0, filled);
  return { sha256: createHash('sha256').update(bytes).digest('hex'), size: filled, bytes, fd };
}

const readPiece = promisify(read);

async function hashLarge(fd: number, signal: AbortSignal): Promise<Content> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(pieceBytes);
  let size = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await readPiece(fd, buffer, 0, pieceBytes, size);
    if (bytesRead === 0) return { sha256: hash.digest('hex'), size, bytes: undefined, fd };
    hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

/** Tries until the object is there: others may write to the key meanwhile, and the store may be away for a moment. */
async function store(deps: UploadDeps, task: UploadTask<OutputFile>, content: Content): Promise<ObjectHead> {
  const metadata = outputMetadata(deps.plan, deps.input, content.sha256);
  const shown = printable(`${task.bucket}/${task.key}`);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await storeOnce(deps, task, content, metadata);
    } catch (error) {
      const what = `the output ${shown} could not be stored`;
      if (deps.signal.aborted || !isAppError(error)) throw error;
      const again = error.code === 'precondition_failed' || error.code === 'unavailable';
      if (!again || attempt >= deps.limits.uploadTries) {
        if (error.code !== 'precondition_failed') throw stopForStore(error, 'output_failed', what);
        throw new AttemptStop('store_unavailable', `${what}: others keep writing to it`, {
          retryable: true,
          cause: error,
        });
      }
      if (error.code === 'unavailable') {
        await deps.clock.sleep(firstWaitMs * 2 ** (attempt - 1), deps.signal);
      }
    }
  }
}

async function storeOnce(
  deps: UploadDeps,
  task: UploadTask<OutputFile>,
  content: Content,
  metadata: Readonly<Record<string, string>>,
): Promise<ObjectHead> {
  const { bucket, key } = task;
  const decision = decideUpload(await deps.objects.head(bucket, key), metadata);
  if (decision.kind === 'keep') return decision.head;
  if (decision.kind === 'superseded') {
    const message = `a newer run of the same input has written ${printable(`${bucket}/${key}`)} already`;
    throw new AttemptStop('superseded', message, { result: 'superseded' });
  }
  const condition = decision.kind === 'create' ? ({ ifNoneMatch: '*' } as const) : { ifMatch: decision.etag };
  return put(deps, task, content, { metadata, ...condition });
}

async function put(
  deps: UploadDeps,
  task: UploadTask<OutputFile>,
  content: Content,
  options: PutOptions,
): Promise<ObjectHead> {
  const all = { ...options, size: content.size, signal: deps.signal };
  if (content.bytes !== undefined) return deps.objects.put(task.bucket, task.key, content.bytes, all);
  const body = Readable.from(pieces(content), { objectMode: false, highWaterMark: pieceBytes });
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  body.once('close', resolve);
  // What ended the stream is what `put` rejects with.
  body.on('error', () => undefined);
  try {
    return await deps.objects.put(task.bucket, task.key, body, all);
  } finally {
    // A read may be under way: the descriptor must not be closed, and given to somebody else, before it is done.
    body.destroy();
    await closed;
  }
}

/** Not `createReadStream`: destroying that closes a descriptor that is ours, whatever `autoClose` says. */
async function* pieces({ fd, size }: Content): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < size;) {
    const length = Math.min(pieceBytes, size - position);
    const { bytesRead, buffer } = await readPiece(fd, Buffer.allocUnsafe(length), 0, length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
