import { randomBytes } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { mkdir, open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError, isAppError, systemCode } from '../errors/index.ts';
import type { PutOptions } from '../stores/index.ts';
import { unlessCode } from './folder-errors.ts';

/** A file outside all buckets, with the whole body, durable, and its final identity. */
export interface TempFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly stats: BigIntStats;
}

export interface TempFiles {
  /**
   * Writes a body; `use` then moves the file into place. When anything fails, the file is removed.
   * @throws AppError `invalid_input` for a body of another size than announced, `cancelled` when the signal or the body broke off
   */
  withBody<T>(
    body: Readable | Uint8Array,
    options: PutOptions,
    use: (file: TempFile) => Promise<T>,
  ): Promise<T>;
}

/** Names of files that a start may remove. */
export const tempName = /^put-[0-9a-f]{16}-\d+$/;

const gatherBytes = 256 * 1024;

/**
 * Makes a file in the temporary folder, and the folder where a script or a cleaner has removed it: without it nothing could
 * be stored before the next start.
 * @throws AppError `unavailable` where the folder around it is gone too
 */
export async function inTempFolder<T>(root: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  try {
    await unlessCode(['EEXIST'], async () => mkdir(root, { mode: 0o700 }));
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new AppError('unavailable', `The folder ${root} is gone.`, { cause: error });
  }
  return make();
}

/** @param root on the file system of the buckets; this process's alone */
export function createTempFiles(root: string): TempFiles {
  const stamps = createStamps();
  const series = randomBytes(8).toString('hex');
  let count = 0;
  return {
    withBody: async (body, options, use) => {
      count += 1;
      const path = join(root, `put-${series}-${count}`);
      const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
      const handle = await inTempFolder(root, async () =>
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW),
      );
      try {
        await writeBody(handle, body, options);
        const stats = await stamps.settle(handle);
        await handle.sync();
        if (options.signal?.aborted === true) throw cancelled(options.signal.reason);
        return await use({ path, handle, stats });
      } catch (error) {
        await unlessCode(['ENOENT'], async () => unlink(path));
        throw error;
      } finally {
        await handle.close();
      }
    },
  };
}

/**
 * Gives each file a modification time of its own. Without it two writes of equal length within one tick of the kernel's
 * clock (up to 10 ms) would look the same where the second one got an inode that was freed in between.
 */
function createStamps(): { settle(handle: FileHandle): Promise<BigIntStats> } {
  let last = 0n;
  return {
    settle: async (handle) => {
      const stats = await handle.stat({ bigint: true });
      // Where the machine's clock was set back, times follow it.
      if (stats.mtimeNs > last || last - stats.mtimeNs > 1_000_000_000n) {
        last = stats.mtimeNs;
        return stats;
      }
      // 2 µs: times go to the kernel as a floating-point number of seconds, exact to a quarter of a microsecond.
      last += 2000n;
      const seconds = Number(last / 1000n) / 1e6;
      await handle.utimes(seconds, seconds);
      return handle.stat({ bigint: true });
    },
  };
}

async function writeBody(
  handle: FileHandle,
  body: Readable | Uint8Array,
  options: PutOptions,
): Promise<void> {
  const size =
    body instanceof Uint8Array ? await writeBytes(handle, body) : await writeStream(handle, body, options);
  if (options.size !== undefined && size !== options.size) throw wrongSize(options.size, size);
}

function wrongSize(expected: number, size: number | string): AppError {
  return new AppError('invalid_input', `The body has ${size} bytes where ${expected} were announced.`, {
    field: 'size',
  });
}

async function writeBytes(handle: FileHandle, bytes: Uint8Array): Promise<number> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at);
    at += bytesWritten;
  }
  return bytes.length;
}

/** Small chunks are gathered: each write is a trip to the thread pool. */
async function writeStream(handle: FileHandle, body: Readable, options: PutOptions): Promise<number> {
  let size = 0;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  const flush = async (): Promise<void> => {
    const bytes = waiting.length === 1 ? waiting[0] : Buffer.concat(waiting);
    waiting = [];
    waitingBytes = 0;
    if (bytes !== undefined) await writeBytes(handle, bytes);
  };
  await forEachChunk(body, options.signal, async (chunk) => {
    size += chunk.length;
    if (options.size !== undefined && size > options.size)
      throw wrongSize(options.size, `more than ${options.size}`);
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes >= gatherBytes) await flush();
  });
  await flush();
  return size;
}

/**
 * Takes a body's chunks in turn. When the signal stops it, it does not wait for the body, which may hang just then.
 * When `take` throws, the body is left undestroyed, so that an answer can still be sent over a request's connection.
 */
async function forEachChunk(
  body: Readable,
  signal: AbortSignal | undefined,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  if (signal?.aborted === true) throw cancelled(signal.reason);
  let interrupt = (_error: AppError): void => {};
  const stop = (): void => {
    const error = cancelled(signal?.reason);
    interrupt(error);
    body.destroy(error);
  };
  signal?.addEventListener('abort', stop, { once: true });
  const chunks = body.iterator({ destroyOnReturn: false });
  try {
    for (;;) {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<unknown>>();
      interrupt = reject;
      chunks.next().then(resolve, (error: unknown) => {
        reject(isAppError(error) ? error : brokenOff(error));
      });
      const step = await promise;
      if (step.done === true) return;
      try {
        await take(typeof step.value === 'string' ? Buffer.from(step.value) : (step.value as Uint8Array));
      } catch (error) {
        await chunks.return?.(undefined);
        throw error;
      }
    }
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

function brokenOff(error: unknown): AppError {
  return new AppError('cancelled', 'The body broke off before its end; nothing was stored.', {
    cause: error,
    details: { code: systemCode(error) },
  });
}

function cancelled(reason: unknown): AppError {
  return new AppError('cancelled', 'The upload was stopped; nothing was stored.', { cause: reason });
}
