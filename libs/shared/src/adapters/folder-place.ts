import { join } from 'node:path';
import { lstat } from 'node:fs/promises';
import { AppError } from '../errors/index.ts';
import { checkBucketName, checkObjectKey, SYSTEM_BUCKET } from '../stores/index.ts';
import type { Directories, Directory } from './folder-directory.ts';
import { noBucket, unlessCode } from './folder-errors.ts';

/** Real paths, without links, without a slash at the end. */
export interface Roots {
  readonly buckets: string;
  readonly system: string;
  readonly temp: string;
}

/** Where a bucket's or an object's folder is: below `root`, of which the first `given` parts must be there already. */
export interface Place {
  readonly root: string;
  readonly parts: readonly string[];
  readonly given: number;
}

export interface ObjectPlace extends Place {
  readonly bucket: string;
  readonly key: string;
  /** Name of the file (or, for a folder marker, of the folder) in the folder `parts`. */
  readonly name: string;
}

/** @throws AppError `invalid_input` */
export function bucketPlace(roots: Roots, bucket: string): Place {
  if (bucket === SYSTEM_BUCKET) return { root: roots.system, parts: [], given: 0 };
  checkBucketName(bucket);
  return { root: roots.buckets, parts: [bucket], given: 1 };
}

/** @throws AppError `invalid_input` */
export function objectPlace(roots: Roots, bucket: string, key: string): ObjectPlace {
  const place = bucketPlace(roots, bucket);
  checkObjectKey(key);
  const names = (key.endsWith('/') ? key.slice(0, -1) : key).split('/');
  const name = names.pop() ?? '';
  return { ...place, parts: [...place.parts, ...names], bucket, key, name };
}

/** True for a folder of its own; a link to one is no bucket. */
export async function bucketExists(roots: Roots, bucket: string): Promise<boolean> {
  const { root, parts } = bucketPlace(roots, bucket);
  const stats = await unlessCode(['ENOENT', 'ENOTDIR'], async () => lstat(join(root, ...parts)));
  return stats?.isDirectory() === true;
}

/**
 * The folder of an object that is to be read; undefined where it does not exist or is no folder (then no such object does).
 * @throws AppError `not_found` for the bucket
 */
export async function openForReading(
  directories: Directories,
  roots: Roots,
  place: Place & { readonly bucket: string },
): Promise<Directory | undefined> {
  const opened = await directories.open(place.root, place.parts);
  if (typeof opened !== 'string') return opened;
  if (!(await bucketExists(roots, place.bucket))) throw noBucket(place.bucket);
  return undefined;
}

/**
 * The folder of an object that is to be written, made where it does not exist.
 * @throws AppError `not_found` for the bucket, `invalid_input` where a part of the key is no folder
 */
export async function openForWriting(
  directories: Directories,
  roots: Roots,
  place: ObjectPlace,
): Promise<Directory> {
  const opened = await directories.make(place.root, place.parts, place.given);
  if (typeof opened !== 'string') return opened;
  await refuse(roots, place, opened);
  throw new AppError('unavailable', 'The folder was removed while it was written to.');
}

/**
 * As `openForWriting`, without making anything; undefined where the folder does not exist yet.
 * @throws AppError as `openForWriting`
 */
export async function openBeforeWriting(
  directories: Directories,
  roots: Roots,
  place: ObjectPlace,
): Promise<Directory | undefined> {
  const opened = await directories.open(place.root, place.parts);
  if (typeof opened !== 'string') return opened;
  await refuse(roots, place, opened);
  return undefined;
}

async function refuse(roots: Roots, place: ObjectPlace, opened: 'absent' | 'blocked'): Promise<void> {
  if (!(await bucketExists(roots, place.bucket))) throw noBucket(place.bucket);
  if (opened === 'absent') return;
  throw new AppError('invalid_input', 'A folder of the object key is a file or a link in this bucket.', {
    field: 'key',
  });
}
