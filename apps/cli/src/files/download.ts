import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { bodyChunks, BrokenAnswer } from '../api/client.ts';
import type { Api } from '../api/routes.ts';
import { CliError, messageOf, systemCode } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';

export interface DownloadDeps {
  readonly api: Pick<Api, 'getObject'>;
  readonly signal: AbortSignal;
}

export interface Download {
  readonly bucket: string;
  readonly key: string;
  readonly file: string;
}

const maxTries = 4;

/**
 * Downloads one object into a file, which appears whole or not at all. Begins again when the connection breaks.
 * @returns its size
 */
export async function downloadFile(
  deps: DownloadDeps,
  download: Download,
  onBytes: (count: number) => void,
): Promise<number> {
  const folder = path.dirname(download.file);
  const partial = path.join(folder, `.sluice-${randomBytes(6).toString('hex')}.part`);
  try {
    await mkdir(folder, { recursive: true });
    const size = await fetchInto(deps, download, partial, onBytes);
    await rename(partial, download.file);
    return size;
  } catch (error) {
    deps.signal.throwIfAborted();
    if (error instanceof CliError || systemCode(error) === undefined) throw error;
    throw new CliError(exitCodes.failed, `${download.file} cannot be written: ${messageOf(error)}`, {
      code: 'file_unwritable',
    });
  } finally {
    await rm(partial, { force: true });
  }
}

async function fetchInto(
  deps: DownloadDeps,
  { bucket, key }: Download,
  partial: string,
  onBytes: (count: number) => void,
): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    let size = 0;
    const reply = await deps.api.getObject(bucket, key);
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of bodyChunks(reply.body, deps.signal)) {
        size += chunk.length;
        onBytes(chunk.length);
        yield chunk;
      }
    };
    try {
      await pipeline(counted, createWriteStream(partial));
      return size;
    } catch (error) {
      reply.body.destroy();
      onBytes(-size);
      if (!(error instanceof BrokenAnswer) || tries >= maxTries) throw error;
    }
  }
}

/** An object's bytes to a writer. Nothing is asked for twice: what was written can't be taken back. @returns its size */
export async function downloadTo(
  deps: DownloadDeps,
  object: { readonly bucket: string; readonly key: string },
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<number> {
  const reply = await deps.api.getObject(object.bucket, object.key);
  let size = 0;
  for await (const chunk of bodyChunks(reply.body, deps.signal)) {
    await write(chunk);
    size += chunk.length;
  }
  return size;
}
