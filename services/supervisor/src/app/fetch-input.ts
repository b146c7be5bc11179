import { createWriteStream, writeFileSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fromSystemError, isAppError } from '@sluice/shared/errors';
import type { ObjectBody, ObjectHead, ObjectStore } from '@sluice/shared/stores';
import { AttemptStop, stopForStore } from '../domain/attempt-stop.ts';
import { inputFileName } from '../domain/input-name.ts';
import { printable } from '../domain/text.ts';

/** The object that a run is about. */
export interface WantedInput {
  readonly bucket: string;
  readonly key: string;
  /** The state that was claimed; absent for an event that somebody posted: whatever is there. */
  readonly etag: string | undefined;
}

export interface FetchDeps {
  readonly objects: Pick<ObjectStore, 'get' | 'head'>;
  readonly inputDir: string;
  readonly smallFileBytes: number;
  readonly signal: AbortSignal;
}

export interface FetchedInput {
  readonly path: string;
  readonly info: ObjectHead;
}

/**
 * Brings the input object into the input folder, in pieces.
 * @throws AttemptStop `superseded` (another state of the object is there), `input_missing`, `input_forbidden`, `store_unavailable`, `storage_full`
 */
export async function fetchInput(deps: FetchDeps, input: WantedInput): Promise<FetchedInput> {
  const shown = printable(`${input.bucket}/${input.key}`);
  const what = `the input ${shown} could not be read`;
  const { info, body } = await open(deps, input, shown, what);
  const path = join(deps.inputDir, inputFileName(input.key));
  let written: number;
  try {
    written =
      info.size <= deps.smallFileBytes
        ? await writeSmall(body, path, info.size)
        : await writeLarge(body, path, deps.signal);
  } catch (error) {
    throw stopForStore(fromSystemError(error, `write the input ${shown}`), 'input_missing', what);
  }
  if (written !== info.size) {
    await unlink(path);
    throw new AttemptStop('store_unavailable', `${what}: ${written} of ${info.size} bytes came`, {
      retryable: true,
    });
  }
  return { path, info };
}

async function open(deps: FetchDeps, input: WantedInput, shown: string, what: string): Promise<ObjectBody> {
  const { bucket, key, etag } = input;
  const { signal } = deps;
  try {
    return await deps.objects.get(bucket, key, etag === undefined ? { signal } : { ifMatch: etag, signal });
  } catch (error) {
    if (etag === undefined && isAppError(error) && error.details['denied'] === true) {
      const message = `the event names ${shown}, which is in no path of the service: its keys may not read it`;
      throw new AttemptStop('input_forbidden', message, { cause: error });
    }
    if (!isAppError(error, 'not_found') && !isAppError(error, 'precondition_failed')) {
      throw stopForStore(error, 'input_missing', what);
    }
    throw await missing(deps, input, shown, what);
  }
}

/** The state that was asked for is not there: is there another one? */
async function missing(deps: FetchDeps, input: WantedInput, shown: string, what: string): Promise<unknown> {
  let now: ObjectHead | undefined;
  try {
    now = await deps.objects.head(input.bucket, input.key);
  } catch (error) {
    if (!isAppError(error, 'not_found')) return stopForStore(error, 'input_missing', what);
  }
  if (now === undefined)
    return new AttemptStop('input_missing', `the input ${shown} is not there (any more)`);
  if (now.etag === input.etag || input.etag === undefined) {
    return new AttemptStop('store_unavailable', `${what}: it changes while it is read`, { retryable: true });
  }
  const message = `the input ${shown} was replaced by a newer one, which has a run of its own`;
  return new AttemptStop('superseded', message, { result: 'superseded' });
}

/** One write, without the thread pool (see `makeWorkFolder`). */
async function writeSmall(body: Readable, path: string, expected: number): Promise<number> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > expected) break;
  }
  writeFileSync(path, Buffer.concat(chunks, size), { flag: 'wx' });
  return size;
}

async function writeLarge(body: Readable, path: string, signal: AbortSignal): Promise<number> {
  const file = createWriteStream(path, { flags: 'wx', highWaterMark: 1024 * 1024 });
  await pipeline(body, file, { signal });
  return file.bytesWritten;
}
