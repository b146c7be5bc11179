import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  type Dir,
} from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '@sluice/shared/errors';
import { AttemptStop } from '../domain/attempt-stop.ts';

/** A regular file that a script left, not opened yet. */
export interface OutputFile {
  /** Path below the output folder. */
  readonly name: string;
  readonly path: string;
}

/** Why something in the output folder is not uploaded. */
export type SkipReason =
  | 'a link'
  | 'a named pipe'
  | 'a socket'
  | 'a device'
  | 'not a regular file'
  | 'its name is not valid UTF-8'
  | 'it is no longer inside the output folder';

export interface OutputListing {
  readonly files: readonly OutputFile[];
  readonly skipped: readonly { readonly name: string; readonly reason: SkipReason }[];
  /** The script removed its output folder or put something else there. */
  readonly folderGone: boolean;
}

/** Entries after which others get a turn: reading a folder is synchronous (see `makeWorkFolder`). */
const yieldAfter = 256;

/**
 * All regular files below a folder, by name. Links, pipes, sockets and devices are told, not opened. Hard links count as files: a script
 * can only link what its own user may read, and could as well have copied it.
 * @param limit of entries, folders and skipped ones included
 * @throws AttemptStop `too_many_outputs`; `output_failed` where a folder cannot be read
 */
export async function listOutputFiles(root: string, limit: number): Promise<OutputListing> {
  const files: OutputFile[] = [];
  const skipped: { name: string; reason: SkipReason }[] = [];
  if (!isFolder(root)) return { files, skipped, folderGone: true };
  const folders = [''];
  let seen = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const directory = openFolder(join(root, folder), folder);
    if (directory === undefined) continue;
    try {
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
        seen += 1;
        if (seen > limit) {
          throw new AttemptStop('too_many_outputs', `the script left more than ${limit} files as output`);
        }
        if (seen % yieldAfter === 0) await setImmediate();
        const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
        const reason = skipReason(entry);
        if (reason !== undefined) skipped.push({ name, reason });
        else if (entry.isDirectory()) folders.push(name);
        else files.push({ name, path: join(root, name) });
      }
    } finally {
      directory.closeSync();
    }
  }
  files.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { files, skipped, folderGone: false };
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** A folder that is gone again, or that its own user may not read. */
function openFolder(path: string, name: string): Dir | undefined {
  try {
    return opendirSync(path, { bufferSize: 64 });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw unreadable(`the output folder "${name}"`, error);
  }
}

interface EntryKind {
  readonly name: string;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isBlockDevice(): boolean;
  isCharacterDevice(): boolean;
  isFile(): boolean;
  isDirectory(): boolean;
}

function skipReason(entry: EntryKind): SkipReason | undefined {
  // Node puts U+FFFD where bytes are not UTF-8: such a name cannot be opened again.
  if (entry.name.includes('\u{fffd}')) return 'its name is not valid UTF-8';
  if (entry.isSymbolicLink()) return 'a link';
  if (entry.isFIFO()) return 'a named pipe';
  if (entry.isSocket()) return 'a socket';
  if (entry.isBlockDevice() || entry.isCharacterDevice()) return 'a device';
  return entry.isFile() || entry.isDirectory() ? undefined : 'not a regular file';
}

/** Bytes of a listed file as a reader gets them, holes included; 0 when it is gone or something else by now. */
export function outputSize(file: OutputFile): number {
  try {
    const stats = lstatSync(file.path, { throwIfNoEntry: false });
    return stats?.isFile() === true ? stats.size : 0;
  } catch (error) {
    throw unreadable(`the output "${file.name}"`, error);
  }
}

export type OpenedOutput =
  | { readonly kind: 'opened'; readonly fd: number; readonly size: number }
  | { readonly kind: 'skipped'; readonly reason: SkipReason };

/**
 * Opens a listed file for reading, sure to be the regular file inside `root` that the listing saw, whatever was swapped meanwhile: no link is
 * followed, nothing blocks. The caller closes `fd`.
 * @throws AttemptStop `output_failed` where its own user may not read it
 */
export function openOutput(root: string, file: OutputFile): OpenedOutput {
  let fd: number;
  try {
    fd = openSync(file.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return skippedOpen(error, file);
  }
  let keep = false;
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return { kind: 'skipped', reason: 'not a regular file' };
    keep = isInside(root, file.path, fd);
    if (!keep) return { kind: 'skipped', reason: 'it is no longer inside the output folder' };
    return { kind: 'opened', fd, size: stats.size };
  } finally {
    if (!keep) closeSync(fd);
  }
}

function skippedOpen(error: unknown, file: OutputFile): OpenedOutput {
  switch (systemCode(error)) {
    case 'ELOOP':
      return { kind: 'skipped', reason: 'a link' };
    case 'ENXIO':
      return { kind: 'skipped', reason: 'a socket' };
    case 'ENOENT':
    case 'ENOTDIR':
      return { kind: 'skipped', reason: 'it is no longer inside the output folder' };
    default:
      throw unreadable(`the output "${file.name}"`, error);
  }
}

/** What the machine is short of at this moment; another attempt may find more. */
const shortages: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EIO']);

function unreadable(what: string, error: unknown): AttemptStop {
  const code = systemCode(error) ?? 'unknown';
  return new AttemptStop('output_failed', `${what} cannot be read (${code})`, {
    cause: error,
    retryable: shortages.has(code),
  });
}

/**
 * `O_NOFOLLOW` guards the last part of a path only. Linux tells where an open file lies; elsewhere each folder on the way is looked at, and
 * the file compared with what lies at the path now.
 */
function isInside(root: string, path: string, fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === path;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  return isInsideByParts(root, path, fd);
}

/** The way without `/proc`, exported for its test. */
export function isInsideByParts(root: string, path: string, fd: number): boolean {
  for (let folder = dirname(path); folder.length >= root.length; folder = dirname(folder)) {
    if (!isFolder(folder)) return false;
  }
  const opened = fstatSync(fd);
  const listed = lstatSync(path, { throwIfNoEntry: false });
  return listed?.dev === opened.dev && listed.ino === opened.ino;
}
