import { lstat } from 'node:fs/promises';
import { systemCode } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { compareKeys, type ObjectInfo } from '../stores/index.ts';
import type { Directories, Directory } from './folder-directory.ts';
import { infoOf } from './folder-identity.ts';
import { mapLimited } from './folder-limits.ts';
import type { FolderNames, Names } from './folder-names.ts';

export interface WalkQuery {
  readonly bucket: string;
  /** The opened folder that the walk starts in; the walk releases it. */
  readonly start: Directory;
  /** Key prefix of `start`: empty, or with its trailing slash. */
  readonly base: string;
  /** Beginning of the names that count in `start`. */
  readonly namePrefix: string;
  readonly after: string | undefined;
}

/** Goes through the objects of a bucket in byte order of their keys. Memory: the names of the folders on the way down. */
export interface Walk {
  /** At least one and at most `max` objects; none at the end. */
  next(max: number): Promise<readonly ObjectInfo[]>;
  /** The page ends with this key. */
  paused(key: string): void;
  close(): Promise<void>;
}

export interface WalkDeps {
  readonly directories: Directories;
  readonly names: FolderNames;
  readonly log: Logger;
}

interface Frame {
  readonly directory: Directory;
  readonly prefix: string;
  readonly names: Names;
  at: number;
  readonly end: number;
}

/** What can't be an object, for one warning a listing. */
interface Skipped {
  count: number;
  example: string | undefined;
}

const statsAtOnce = 16;
const maxKeyBytes = 1024;

export async function startWalk(deps: WalkDeps, query: WalkQuery): Promise<Walk> {
  const frames: Frame[] = [];
  const skipped: Skipped = { count: 0, example: undefined };
  const skip = (key: string): void => {
    skipped.count += 1;
    skipped.example ??= key;
  };
  const enter = async (directory: Directory, prefix: string, namePrefix: string): Promise<void> => {
    try {
      const names = await deps.names.read(`${query.bucket}/${prefix}`, directory, query.after);
      frames.push({ directory, prefix, names, ...range(names, prefix, namePrefix, query.after) });
    } catch (error) {
      await directory.release();
      throw error;
    }
  };
  await enter(query.start, query.base, query.namePrefix);
  return {
    next: async (max) => {
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const files = takeFiles(frame, max);
        const infos = await mapLimited(files, statsAtOnce, async (name) =>
          look(query.bucket, frame, name, skip),
        );
        const found = infos.filter((info) => info !== undefined);
        if (found.length > 0) return found;
        if (files.length > 0) continue;
        await goOn(deps, frames, frame, { enter, skip });
      }
      return [];
    },
    paused: (key) => {
      for (const { prefix } of frames) deps.names.paused(`${query.bucket}/${prefix}`, key);
    },
    close: async () => {
      for (const { directory } of frames.splice(0)) await directory.release();
      if (skipped.count === 0) return;
      deps.log.warn(
        { bucket: query.bucket, count: skipped.count, example: skipped.example },
        'files or folders skipped: their names are not UTF-8 or too long for a key, or they cannot be read',
      );
    },
  };
}

/** The files that follow, up to the next folder. */
function takeFiles(frame: Frame, max: number): readonly string[] {
  const from = frame.at;
  const stop = Math.min(frame.end, from + max);
  while (frame.at < stop && frame.names[frame.at]?.endsWith('/') === false) frame.at += 1;
  return frame.names.slice(from, frame.at);
}

/** Into the next folder, or out of this one. */
async function goOn(
  deps: WalkDeps,
  frames: Frame[],
  frame: Frame,
  {
    enter,
    skip,
  }: {
    enter: (directory: Directory, prefix: string, namePrefix: string) => Promise<void>;
    skip: (key: string) => void;
  },
): Promise<void> {
  const name = frame.at < frame.end ? frame.names[frame.at] : undefined;
  if (name === undefined) {
    frames.pop();
    await frame.directory.release();
    return;
  }
  frame.at += 1;
  const prefix = frame.prefix + name;
  // A file's name has at least one byte more.
  if (Buffer.byteLength(prefix) >= maxKeyBytes) {
    skip(prefix);
    return;
  }
  try {
    const child = await deps.directories.child(frame.directory, name.slice(0, -1));
    if (typeof child !== 'string') await enter(child, prefix, '');
    else if (child === 'absent' && isSuspicious(name)) skip(prefix);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    skip(prefix);
  }
}

async function look(
  bucket: string,
  frame: Frame,
  name: string,
  skip: (key: string) => void,
): Promise<ObjectInfo | undefined> {
  const key = frame.prefix + name;
  if (key.length > maxKeyBytes / 3 && Buffer.byteLength(key) > maxKeyBytes) {
    skip(key);
    return undefined;
  }
  try {
    const stats = await lstat(frame.directory.path(name), { bigint: true });
    return stats.isFile() ? infoOf(bucket, key, stats) : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') {
      if (isSuspicious(name)) skip(key);
      return undefined;
    }
    if (!isUnreadable(error)) throw error;
    skip(key);
    return undefined;
  }
}

/** The decoder puts U+FFFD for bytes that are not UTF-8; a file of the decoded name does not exist then. */
function isSuspicious(name: string): boolean {
  return name.includes('\ufffd');
}

function isUnreadable(error: unknown): boolean {
  return ['EACCES', 'EPERM'].includes(systemCode(error) ?? '');
}

/** The part of a folder's names that a walk has to look at. */
function range(
  names: Names,
  prefix: string,
  namePrefix: string,
  after: string | undefined,
): { at: number; end: number } {
  const first = firstIndex(names, (name) => compareKeys(name, namePrefix) >= 0);
  let end = first;
  // Sorted: names with the prefix stand together, behind it.
  if (namePrefix === '') end = names.length;
  else while (names[end]?.startsWith(namePrefix) === true) end += 1;
  return { at: Math.max(first, firstBehind(names, prefix, after)), end };
}

/** Index of the first name that leads to keys behind `after`. */
function firstBehind(names: Names, prefix: string, after: string | undefined): number {
  if (after === undefined || compareKeys(after, prefix) < 0) return 0;
  if (!after.startsWith(prefix)) return names.length;
  const rest = after.slice(prefix.length);
  const at = firstIndex(names, (name) => compareKeys(name, rest) > 0);
  const before = names[at - 1];
  // `sub/` stands before `sub/x`, and may lead to keys behind it.
  return before?.endsWith('/') === true && rest.startsWith(before) ? at - 1 : at;
}

function firstIndex(names: Names, holds: (name: string) => boolean): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(names[middle] ?? '')) high = middle;
    else low = middle + 1;
  }
  return low;
}
