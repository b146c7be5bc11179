import { constants, type BigIntStats } from 'node:fs';
import { lstat, mkdir, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { unlessCode } from './folder-errors.ts';

/** An opened folder that has been proved to be the one that its path names, no link on the way. */
export interface Directory {
  /** The path of an entry for system calls. On Linux it hangs on the descriptor, so that nothing swapped in later is followed. */
  path(name: string): string;
  /** The folder's own path for system calls. */
  readonly self: string;
  /** The path that it was found at. */
  readonly origin: string;
  /** Whether it is still there: a folder that was moved or deleted stays open. */
  inPlace(): Promise<boolean>;
  stat(): Promise<BigIntStats>;
  /** Makes its entries durable; callers at the same time share one call. */
  sync(): Promise<void>;
  release(): Promise<void>;
}

/** `absent`: a part does not exist. `blocked`: a part is a file, a link or something else that is no folder. */
export type Opened = Directory | 'absent' | 'blocked';

export interface Directories {
  /** @param root a real path, without links */
  open(root: string, parts: readonly string[]): Promise<Opened>;
  /** As `open`; makes folders that are absent, durably, except the first `given` parts. */
  make(root: string, parts: readonly string[], given: number): Promise<Opened>;
  /** The caller still holds the parent. */
  child(parent: Directory, name: string | Buffer): Promise<Opened>;
  /** To be called when a folder was moved: what is opened from now on is what is there now. */
  forget(root: string, parts: readonly string[]): void;
}

/** How long an opened folder may be shared by calls at the same time: short, since it may be moved away by hand. */
const shareMs = 50;
const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens folders without ever following a link below their root.
 * @param anchor how their place is proved; the default is the best that the system has
 */
export async function createDirectories(clock: Clock, anchor?: Anchor): Promise<Directories> {
  return directoriesWith(clock, anchor ?? (await chooseAnchor()));
}

function directoriesWith(clock: Clock, anchor: Anchor): Directories {
  const { share, forget } = createShared(clock);
  const open = async (root: string, parts: readonly string[]): Promise<Opened> => {
    const path = join(root, ...parts);
    return share(path, async () => openVerified(path, path, anchor));
  };
  const child = async (parent: Directory, name: string | Buffer): Promise<Opened> => {
    const path =
      typeof name === 'string' ? parent.path(name) : Buffer.concat([Buffer.from(parent.path('')), name]);
    const origin = join(parent.origin, name.toString());
    // Below a descriptor only the last part could be a link, and `flags` refuse that.
    return openVerified(path, origin, anchor, anchor === 'descriptor');
  };
  return {
    open,
    child,
    forget: (root, parts) => {
      forget(join(root, ...parts));
    },
    make: async (root, parts, given) => {
      const found = await open(root, parts);
      return found === 'absent' ? makeFrom({ open, child }, root, parts, given) : found;
    },
  };
}

/**
 * Linux shows descriptors as links to what they are, which both proves where they are and lets paths start at them.
 * Elsewhere paths are resolved and compared, which leaves a moment for a swap between the look and the use.
 */
export type Anchor = 'descriptor' | 'path';

async function chooseAnchor(): Promise<Anchor> {
  if (process.platform !== 'linux') return 'path';
  const handle = await open('/', flags);
  try {
    const shown = await unlessCode(['ENOENT', 'EACCES', 'EPERM'], async () =>
      readlink(`/proc/self/fd/${handle.fd}`),
    );
    return shown === '/' ? 'descriptor' : 'path';
  } finally {
    await handle.close();
  }
}

/**
 * @param origin the path that the opened folder must have
 * @param certain there can be no link on the way
 */
async function openVerified(
  path: string | Buffer,
  origin: string,
  anchor: Anchor,
  certain = false,
): Promise<Opened> {
  // A second look, since a folder that is moved by hand just now is neither absent nor a link.
  for (let round = 1; ; round += 1) {
    const handle = await openFolder(path);
    if (typeof handle === 'string') return handle;
    if (certain || (await isAtOrClose(handle, origin, anchor))) return directoryOf(handle, origin, anchor);
    if (round === 2) return 'blocked';
  }
}

async function openFolder(path: string | Buffer): Promise<FileHandle | 'absent' | 'blocked'> {
  try {
    return await open(path, flags);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return 'absent';
    if (code === 'ENOTDIR' || code === 'ELOOP') return 'blocked';
    throw error;
  }
}

async function isAtOrClose(handle: FileHandle, origin: string, anchor: Anchor): Promise<boolean> {
  let here = false;
  try {
    here = await isAt(handle, origin, anchor);
  } finally {
    if (!here) await handle.close();
  }
  return here;
}

async function isAt(handle: FileHandle, origin: string, anchor: Anchor): Promise<boolean> {
  if (anchor === 'descriptor') return (await readlink(`/proc/self/fd/${handle.fd}`)) === origin;
  const real = await unlessCode(['ENOENT', 'ENOTDIR'], async () => realpath(origin));
  if (real === undefined || folded(real) !== folded(origin)) return false;
  const [there, here] = await Promise.all([
    unlessCode(['ENOENT', 'ENOTDIR'], async () => lstat(real, { bigint: true })),
    handle.stat({ bigint: true }),
  ]);
  return there?.ino === here.ino && there.dev === here.dev;
}

/** macOS finds files whatever the case and the Unicode form of a name, and answers with those on disk. */
function folded(path: string): string {
  return path.normalize('NFC').toLowerCase();
}

function directoryOf(handle: FileHandle, origin: string, anchor: Anchor): Directory {
  const self = anchor === 'descriptor' ? `/proc/self/fd/${handle.fd}` : origin;
  return {
    self,
    origin,
    inPlace: async () => isAt(handle, origin, anchor),
    path: (name) => `${self}/${name}`,
    stat: async () => handle.stat({ bigint: true }),
    // Some network and FUSE file systems have no fsync of folders; there is nothing more that can be done on them.
    sync: shareCalls(async () =>
      unlessCode(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'], async () => handle.sync()),
    ),
    release: async () => handle.close(),
  };
}

/** Callers during a call wait for the next one, which they share: the one under way may have begun before their change. */
function shareCalls(call: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = async (): Promise<void> => {
    if (running === undefined) {
      running = call().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running
      .then(undefined, () => {})
      .then(async () => {
        next = undefined;
        return start();
      });
    return next;
  };
  return start;
}

/** Lets calls at the same time use one opened folder, which spares opening, proving and syncing it for each. */
interface Shared {
  share(path: string, opener: () => Promise<Opened>): Promise<Opened>;
  /** The folder at the path, and those in it, are not what was opened any more. */
  forget(path: string): void;
}

function createShared(clock: Clock): Shared {
  const entries = new Map<string, { opening: Promise<Opened>; users: number; readonly since: number }>();
  const share: Shared['share'] = async (path, opener) => {
    let entry = entries.get(path);
    if (entry === undefined || clock.monotonic() - entry.since > shareMs) {
      entry = { opening: opener(), users: 0, since: clock.monotonic() };
      entries.set(path, entry);
    }
    const held = entry;
    held.users += 1;
    const leave = (): boolean => {
      held.users -= 1;
      if (held.users === 0 && entries.get(path) === held) entries.delete(path);
      return held.users === 0;
    };
    let directory: Opened;
    try {
      directory = await held.opening;
    } catch (error) {
      leave();
      throw error;
    }
    if (typeof directory === 'string') {
      // Not kept for others: the next call may have made it meanwhile.
      if (entries.get(path) === held) entries.delete(path);
      leave();
      return directory;
    }
    const { release } = directory;
    return { ...directory, release: async () => (leave() ? release() : undefined) };
  };
  return {
    share,
    forget: (path) => {
      for (const known of entries.keys()) {
        if (known === path || known.startsWith(`${path}/`)) entries.delete(known);
      }
    },
  };
}

async function makeFrom(
  { open, child }: Pick<Directories, 'open' | 'child'>,
  root: string,
  parts: readonly string[],
  given: number,
): Promise<Opened> {
  let current = await open(root, parts.slice(0, given));
  for (const part of parts.slice(given)) {
    if (typeof current === 'string') return current;
    const parent: Directory = current;
    try {
      current = await child(parent, part);
      if (current !== 'absent') continue;
      // ENOENT: the folder around it was removed just now, and what is absent stays so.
      await unlessCode(['EEXIST', 'ENOENT'], async () => mkdir(parent.path(part)));
      await parent.sync();
      current = await child(parent, part);
    } finally {
      await parent.release();
    }
  }
  return current;
}
