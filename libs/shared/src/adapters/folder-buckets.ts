import { randomBytes } from 'node:crypto';
import { lstat, mkdir, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../errors/index.ts';
import {
  checkBucketName,
  isBucketName,
  SYSTEM_BUCKET,
  type BucketInfo,
  type ObjectStore,
} from '../stores/index.ts';
import type { Directories } from './folder-directory.ts';
import { noBucket, readError, unlessCode, writeError } from './folder-errors.ts';
import type { ObjectIndex } from './folder-index.ts';
import { mapLimited, type KeyLocks } from './folder-limits.ts';
import { bucketExists, bucketPlace, type Roots } from './folder-place.ts';
import { findTrash } from './folder-start.ts';
import { inTempFolder } from './folder-temp.ts';
import { emptyFolder } from './folder-tree.ts';
import { checkLimit } from './page-limit.ts';

export interface BucketDeps {
  readonly roots: Roots;
  readonly directories: Directories;
  readonly index: ObjectIndex;
  readonly locks: KeyLocks;
}

type Buckets = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'setBucketTags' | 'listBuckets' | 'deleteBucket'
>;

/** Buckets as the folders of one root; a folder made by hand is one as well. */
export function createFolderBuckets(deps: BucketDeps): Buckets {
  const { roots, index, locks } = deps;
  return {
    createBucket: async (name, tags) => locks.run(name, async () => createBucket(deps, name, tags)),
    getBucket: async (name) => describe(deps, name),
    setBucketTags: async (name, tags) =>
      locks.run(name, async () => {
        if (!(await bucketExists(roots, name))) throw noBucket(name);
        await index.setTags(name, tags);
      }),
    listBuckets: async ({ limit, cursor }) => {
      checkLimit(limit);
      const names = (await bucketNames(roots.buckets)).filter(
        (name) => cursor === undefined || name > cursor,
      );
      const page = names.slice(0, limit);
      const infos = await mapLimited(page, 16, async (name) => describe(deps, name));
      const items = infos.filter((info) => info !== undefined);
      const last = page.at(-1);
      return names.length > limit && last !== undefined ? { items, next: last } : { items };
    },
    deleteBucket: async (name) => {
      checkBucketName(name);
      const trash = await locks.run(name, async () => discardBucket(deps, name));
      await removeTrash(deps, trash);
    },
  };
}

async function bucketNames(root: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(root)) {
      if (entry.isDirectory() && entry.name !== SYSTEM_BUCKET && isBucketName(entry.name))
        names.push(entry.name);
    }
  } catch (error) {
    throw readError(error, 'list the buckets');
  }
  return names.sort();
}

async function describe({ roots, index }: BucketDeps, name: string): Promise<BucketInfo | undefined> {
  const { root, parts } = bucketPlace(roots, name);
  const stats = await unlessCode(['ENOENT'], async () => lstat(join(root, ...parts)));
  if (stats?.isDirectory() !== true) return undefined;
  // File systems that know no birth time give 0 or the ctime.
  const createdAt = Math.floor(stats.birthtimeMs > 0 ? stats.birthtimeMs : stats.ctimeMs);
  return { name, createdAt, tags: (await index.tags(name)) ?? {} };
}

async function createBucket(
  deps: BucketDeps,
  name: string,
  tags: Readonly<Record<string, string>>,
): Promise<'created' | 'exists'> {
  const { roots, index } = deps;
  if (await bucketExists(roots, name)) return 'exists';
  const path = join(roots.buckets, name);
  if ((await unlessCode(['ENOENT'], async () => lstat(path))) !== undefined) {
    throw new AppError(
      'conflict',
      `The bucket "${name}" cannot be made: its folder's name is taken by a link or a file.`,
      {
        field: 'bucket',
      },
    );
  }
  // First, so that a crash in between leaves no bucket without its owner.
  await index.setTags(name, tags);
  try {
    await mkdir(path);
    await syncRoot(deps);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw writeError(error, `make the bucket "${name}"`);
  }
  return 'created';
}

/** Moves a bucket out of sight in one step, so that it is either there with all its objects or gone. */
async function discardBucket(deps: BucketDeps, name: string): Promise<string> {
  const { roots, index, directories } = deps;
  if (!(await bucketExists(roots, name))) throw noBucket(name);
  const trash = `trash-${randomBytes(12).toString('hex')}`;
  // First: a bucket of the same name that is made later must not get the old one's owner.
  const tags = await index.tags(name);
  await index.setTags(name, undefined);
  try {
    await inTempFolder(roots.temp, async () => rename(join(roots.buckets, name), join(roots.temp, trash)));
    directories.forget(roots.buckets, [name]);
    await syncRoot(deps);
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'ENOENT') throw noBucket(name);
    await index.setTags(name, tags);
    if (code !== 'EBUSY' && code !== 'EXDEV') throw writeError(error, `delete the bucket "${name}"`);
    throw new AppError(
      'conflict',
      `The bucket "${name}" cannot be deleted: its folder is a mount point. Unmount it first.`,
      {
        cause: error,
      },
    );
  }
  await index.removeBucket(name);
  return trash;
}

async function syncRoot({ directories, roots }: BucketDeps): Promise<void> {
  const directory = await directories.open(roots.buckets, []);
  if (typeof directory === 'string')
    throw new AppError('unavailable', `The folder ${roots.buckets} is gone.`);
  try {
    await directory.sync();
  } finally {
    await directory.release();
  }
}

async function removeTrash({ directories, roots }: BucketDeps, trash: string): Promise<void> {
  const path = join(roots.temp, trash);
  try {
    const directory = await directories.open(roots.temp, [trash]);
    // The bucket's folder was swapped for a link or a file just before it was moved here.
    if (directory === 'blocked') await unlessCode(['ENOENT'], async () => unlink(path));
    if (typeof directory === 'string') return;
    try {
      await emptyFolder(directories, directory);
    } finally {
      await directory.release();
    }
    await unlessCode(['ENOENT'], async () => rmdir(path));
  } catch (error) {
    throw writeError(error, 'free the space of a deleted bucket');
  }
}

/** Goes on where a process was killed while it deleted a bucket. */
export async function removeAllTrash(deps: BucketDeps): Promise<void> {
  for (const trash of await findTrash(deps.roots.temp)) await removeTrash(deps, trash);
}
