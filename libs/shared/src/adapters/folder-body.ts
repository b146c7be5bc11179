import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { addAbortSignal, Readable } from 'node:stream';
import { callbackify } from 'node:util';
import { AppError } from '../errors/index.ts';
import { readError } from './folder-errors.ts';
import { identityOf } from './folder-identity.ts';

const chunkBytes = 256 * 1024;

/**
 * The bytes of an opened file in the state `stats`; closes it at the end. Replacing or removing the file does not disturb
 * it. Writing into the file does: the stream then fails with `precondition_failed`, since the bytes may be of two states.
 * @param what for messages: `read the object …`
 */
export function fileBody(
  handle: FileHandle,
  stats: BigIntStats,
  what: string,
  signal: AbortSignal | undefined,
): Readable {
  const size = Number(stats.size);
  let offset = 0;
  const next = async (): Promise<Buffer | null> => {
    if (offset < size) {
      // A buffer of its own each time: the reader may keep it.
      const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, size - offset));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
      offset += bytesRead;
      if (bytesRead > 0) return buffer.subarray(0, bytesRead);
    }
    const now = await handle.stat({ bigint: true });
    if (identityOf(now) === identityOf(stats)) return null;
    throw new AppError('precondition_failed', `Cannot ${what}: it was written to meanwhile.`);
  };
  const close = callbackify(async () => handle.close());
  const body = new Readable({
    highWaterMark: chunkBytes,
    read() {
      next().then(
        (chunk) => this.push(chunk),
        (error: unknown) => this.destroy(asError(readError(error, what))),
      );
    },
    destroy(error, callback) {
      close((closeError) => {
        callback(error ?? closeError);
      });
    },
  });
  return signal === undefined ? body : addAbortSignal(signal, body);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
