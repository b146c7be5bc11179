import { lstat, rmdir, unlink } from 'node:fs/promises';
import { isAppError } from '../errors/index.ts';
import type { Directories } from './folder-directory.ts';
import { objectName, unlessCode, writeError } from './folder-errors.ts';
import { identityOf } from './folder-identity.ts';
import type { ObjectIndex, ObjectStateRef } from './folder-index.ts';
import type { KeyLocks } from './folder-limits.ts';
import { objectPlace, openForReading, type ObjectPlace, type Roots } from './folder-place.ts';

/** What the store's methods share. */
export interface FolderParts {
  readonly roots: Roots;
  readonly directories: Directories;
  readonly index: ObjectIndex;
  readonly locks: KeyLocks;
}

/** The store's `remove`. Folders above stay: the user made them. What is no object (a link, a FIFO) stays as well. */
export async function removeObject(parts: FolderParts, bucket: string, key: string): Promise<void> {
  const place = objectPlace(parts.roots, bucket, key);
  try {
    await parts.locks.run(`${bucket}/${key}`, async () => {
      if (await removeFile(parts, place)) await parts.index.removeKey(bucket, key);
    });
  } catch (error) {
    throw writeError(error, `remove ${objectName(bucket, key)}`);
  }
}

async function removeFile(parts: FolderParts, place: ObjectPlace): Promise<boolean> {
  const directory = await openForReading(parts.directories, parts.roots, place);
  if (directory === undefined) return false;
  try {
    const path = directory.path(place.name);
    const stats = await unlessCode(['ENOENT'], async () => lstat(path));
    if (place.key.endsWith('/')) {
      if (stats?.isDirectory() !== true) return false;
      // A marker goes only where nothing is left in its folder.
      await unlessCode(['ENOENT', 'ENOTEMPTY', 'EEXIST'], async () => rmdir(path));
    } else {
      if (stats?.isFile() !== true) return false;
      await unlessCode(['ENOENT'], async () => unlink(path));
    }
    await directory.sync();
    return true;
  } finally {
    await directory.release();
  }
}

const prunePage = 200;

/** Drops records whose object state is not there (any more); returns how many. */
export async function pruneRecords(parts: FolderParts): Promise<number> {
  let dropped = 0;
  let after: ObjectStateRef | undefined;
  do {
    const page = await parts.index.list(after, prunePage);
    for (const ref of page) if (await pruneRecord(parts, ref)) dropped += 1;
    after = page.length < prunePage ? undefined : page.at(-1);
  } while (after !== undefined);
  return dropped;
}

async function pruneRecord(parts: FolderParts, ref: ObjectStateRef): Promise<boolean> {
  if (await isThere(parts, ref)) return false;
  // Again under the lock: a `put` writes the record before its object is visible.
  return parts.locks.run(`${ref.bucket}/${ref.key}`, async () => {
    if (await isThere(parts, ref)) return false;
    await parts.index.removeState(ref);
    return true;
  });
}

async function isThere(parts: FolderParts, ref: ObjectStateRef): Promise<boolean> {
  try {
    const place = objectPlace(parts.roots, ref.bucket, ref.key);
    const directory = await openForReading(parts.directories, parts.roots, place);
    if (directory === undefined) return false;
    try {
      const stats = await unlessCode(['ENOENT'], async () =>
        lstat(directory.path(place.name), { bigint: true }),
      );
      return stats?.isFile() === true && identityOf(stats) === ref.identity;
    } finally {
      await directory.release();
    }
  } catch (error) {
    if (isAppError(error, 'not_found')) return false;
    throw error;
  }
}
