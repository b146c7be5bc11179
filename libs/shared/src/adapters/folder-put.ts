import type { BigIntStats } from 'node:fs';
import { link, lstat, mkdir, rename, unlink } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { AppError, systemCode } from '../errors/index.ts';
import { checkObjectHeaders, type ObjectHead, type PutOptions } from '../stores/index.ts';
import type { Directories, Directory } from './folder-directory.ts';
import { noObject, objectName, preconditionFailed, unlessCode, writeError } from './folder-errors.ts';
import { defaultContentType } from './default-content-type.ts';
import { identityOf, infoOf } from './folder-identity.ts';
import type { ObjectIndex } from './folder-index.ts';
import type { KeyLocks } from './folder-limits.ts';
import {
  objectPlace,
  openBeforeWriting,
  openForWriting,
  type ObjectPlace,
  type Roots,
} from './folder-place.ts';
import type { TempFile, TempFiles } from './folder-temp.ts';

export interface PutDeps {
  readonly roots: Roots;
  readonly directories: Directories;
  readonly index: ObjectIndex;
  readonly locks: KeyLocks;
  readonly temp: TempFiles;
}

type Conditions = Pick<PutOptions, 'ifMatch' | 'ifNoneMatch'>;

/** Moving a body into place is tried again when its folder went away in between. */
const maxTries = 3;

/** The store's `put`. */
export async function putObject(
  deps: PutDeps,
  target: { readonly bucket: string; readonly key: string },
  body: Readable | Uint8Array,
  options: PutOptions,
): Promise<ObjectHead> {
  const place = objectPlace(deps.roots, target.bucket, target.key);
  checkObjectHeaders(options);
  const what = `write ${objectName(place.bucket, place.key)}`;
  try {
    if (place.key.endsWith('/')) return await putMarker(deps, place, body, options);
    // Bytes at hand are cheaper to write in vain than to look first; a stream of gigabytes is not.
    if (!(body instanceof Uint8Array)) await checkBefore(deps, place, options);
    return await deps.temp.withBody(body, options, async (file) => commit(deps, place, file, options));
  } catch (error) {
    throw writeError(error, what);
  }
}

/** What would be refused in the end is refused before the body is read. */
async function checkBefore(deps: PutDeps, place: ObjectPlace, conditions: Conditions): Promise<void> {
  const directory = await openBeforeWriting(deps.directories, deps.roots, place);
  try {
    const current = directory === undefined ? undefined : await lookAt(directory, place.name);
    checkTarget(current);
    checkConditions(place, current, conditions);
  } finally {
    await directory?.release();
  }
}

async function commit(
  deps: PutDeps,
  place: ObjectPlace,
  file: TempFile,
  options: PutOptions,
): Promise<ObjectHead> {
  return deps.locks.run(`${place.bucket}/${place.key}`, async () => {
    for (let tries = 1; ; tries += 1) {
      const directory = await openForWriting(deps.directories, deps.roots, place);
      try {
        const head = await moveInto(deps, directory, { place, file, options });
        await directory.sync();
        // Else the object went along with its folder, and is not under its key.
        if (!(await directory.inPlace())) throw vanished(undefined);
        return head;
      } catch (error) {
        // The folder went away, or one took the object's name: what `checkTarget` says of it comes with the next look.
        if (!['ENOENT', 'EISDIR', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
        if (tries === maxTries) throw vanished(error);
      } finally {
        await directory.release();
      }
    }
  });
}

function vanished(cause: unknown): AppError {
  return new AppError('unavailable', 'The folder was moved or removed while the object was written.', {
    cause,
  });
}

async function moveInto(
  deps: PutDeps,
  directory: Directory,
  { place, file, options }: { place: ObjectPlace; file: TempFile; options: PutOptions },
): Promise<ObjectHead> {
  const { bucket, key, name } = place;
  const current = await lookAt(directory, name);
  checkTarget(current);
  checkConditions(place, current, options);
  const usual = defaultContentType(key);
  const { contentType = usual, metadata = {} } = options;
  if (contentType !== usual || Object.keys(metadata).length > 0) {
    // Before the object is visible: a crash in between leaves a record of nothing, never an object without its metadata.
    const record = contentType === usual ? { metadata } : { contentType, metadata };
    const ref = { bucket, key, identity: identityOf(file.stats) };
    await deps.index.put(ref, record, current === undefined ? undefined : identityOf(current));
  }
  if (options.ifNoneMatch === '*') await linkNew(place, file, directory.path(name));
  else await rename(file.path, directory.path(name));
  // Again: moving a file changes its ctime.
  const stats = await file.handle.stat({ bigint: true });
  return { ...infoOf(bucket, key, stats), contentType, metadata: { ...metadata } };
}

/** A link is refused where there is something, a rename is not: also what was put there by hand just now stays. */
async function linkNew(place: ObjectPlace, file: TempFile, path: string): Promise<void> {
  try {
    await link(file.path, path);
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'EEXIST') throw preconditionFailed(place.bucket, place.key);
    // File systems without hard links (exFAT, some FUSE ones): what our own locks give has to do.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw error;
    await rename(file.path, path);
    return;
  }
  await unlessCode(['ENOENT'], async () => unlink(file.path));
}

async function lookAt(directory: Directory, name: string): Promise<BigIntStats | undefined> {
  return unlessCode(['ENOENT'], async () => lstat(directory.path(name), { bigint: true }));
}

function checkTarget(current: BigIntStats | undefined): void {
  if (current === undefined || current.isFile()) return;
  const is = current.isDirectory()
    ? 'a folder'
    : current.isSymbolicLink()
      ? 'a link'
      : 'something that is no file';
  throw new AppError('invalid_input', `The object key is the name of ${is} in this bucket.`, {
    field: 'key',
  });
}

function checkConditions(place: ObjectPlace, current: BigIntStats | undefined, conditions: Conditions): void {
  const { bucket, key } = place;
  if (conditions.ifNoneMatch === '*' && current !== undefined) throw preconditionFailed(bucket, key);
  if (conditions.ifMatch === undefined) return;
  const etag = current === undefined ? undefined : infoOf(bucket, key, current).etag;
  if (etag !== conditions.ifMatch) throw preconditionFailed(bucket, key);
}

/** A key with a slash at its end: a folder, which has neither bytes nor metadata. */
async function putMarker(
  deps: PutDeps,
  place: ObjectPlace,
  body: Readable | Uint8Array,
  options: PutOptions,
): Promise<ObjectHead> {
  if (Object.keys(options.metadata ?? {}).length > 0) {
    throw new AppError('invalid_input', 'A folder marker cannot have metadata.', { field: 'metadata' });
  }
  if ((options.size ?? 0) !== 0 || !(await isEmpty(body))) {
    throw new AppError(
      'invalid_input',
      'A key that ends with a slash is a folder marker and takes no bytes.',
      {
        field: 'key',
      },
    );
  }
  return deps.locks.run(`${place.bucket}/${place.key}`, async () => {
    const directory = await openForWriting(deps.directories, deps.roots, place);
    try {
      const before = await lookAt(directory, place.name);
      checkConditions(place, before, options);
      if (before === undefined) await unlessCode(['EEXIST'], async () => mkdir(directory.path(place.name)));
      await directory.sync();
      const stats = await lookAt(directory, place.name);
      if (stats === undefined) throw noObject(place.bucket, place.key);
      if (!stats.isDirectory()) {
        throw new AppError('invalid_input', 'The folder marker has the name of a file in this bucket.', {
          field: 'key',
        });
      }
      return {
        ...infoOf(place.bucket, place.key, stats),
        contentType: defaultContentType(place.key),
        metadata: {},
      };
    } finally {
      await directory.release();
    }
  });
}

async function isEmpty(body: Readable | Uint8Array): Promise<boolean> {
  if (body instanceof Uint8Array) return body.length === 0;
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    if ((chunk as Uint8Array | string).length > 0) return false;
  }
  return true;
}
