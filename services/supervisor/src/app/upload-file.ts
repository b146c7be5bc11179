import { createHash } from 'node:crypto';
import { closeSync, read, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { isAppError, type AppError } from '@sluice/shared/errors';
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
/** Milliseconds that the wait after a lost race is shorter than; then twice as long each time, up to `maxConflictMs`. */
const firstConflictMs = 10;
const maxConflictMs = 1000;

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
  const what = `the output ${printable(`${task.bucket}/${task.key}`)} could not be stored`;
  let failures = 0;
  let conflicts = 0;
  for (;;) {
    try {
      return await storeOnce(deps, task, content, metadata);
    } catch (error) {
      if (deps.signal.aborted || !isAppError(error)) throw error;
      if (error.code === 'precondition_failed') {
        conflicts += 1;
        if (conflicts >= deps.limits.uploadConflicts) throw contested(what, error);
        await deps.clock.sleep(conflictWait(deps.plan.run_id, conflicts), deps.signal);
      } else {
        failures += 1;
        const again = error.code === 'unavailable' && failures < deps.limits.uploadTries;
        if (!again) throw stopForStore(error, 'output_failed', what);
        await deps.clock.sleep(firstWaitMs * 2 ** (failures - 1), deps.signal);
      }
    }
  }
}

function contested(what: string, cause: AppError): AttemptStop {
  const message = `${what}: others keep writing to it`;
  return new AttemptStop('store_unavailable', message, { retryable: true, cause });
}

/** Differs from run to run, so that those which wrote at the same time do not all meet again: each meeting has one winner. */
function conflictWait(runId: string, conflicts: number): number {
  const window = Math.min(firstConflictMs * 2 ** (conflicts - 1), maxConflictMs);
  const spread = createHash('sha256').update(`${runId} ${conflicts}`).digest().readUInt32BE(0);
  return Math.floor((spread / 2 ** 32) * window);
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
