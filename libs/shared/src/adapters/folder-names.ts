import { opendir } from 'node:fs/promises';
import type { Clock } from '../lifecycle/index.ts';
import { compareKeys } from '../stores/index.ts';
import type { Directory } from './folder-directory.ts';

/** Names in a folder in byte order of the keys they lead to: folders have their trailing slash. Links and the like are left out. */
export type Names = readonly string[];

export interface FolderNames {
  /**
   * @param id names the folder for as long as it may be remembered
   * @param resume the key that this page starts behind
   */
  read(id: string, directory: Directory, resume: string | undefined): Promise<Names>;
  /** A page ended at `key` while it read this folder: the next one may go on with the same names. */
  paused(id: string, key: string): void;
}

/** Reading and sorting less than this many names again costs less than remembering them. */
const worthKeeping = 256;
const maxFolders = 8;
const maxNames = 200_000;
/** Time stamps of files advance in steps of up to 10 ms, so that a change right after a look may leave no trace in them. */
const settledMs = 1000;
/** Names of a folder that keeps changing serve the following pages of one listing for so long. */
const resumeMs = 10_000;
const idleMs = 30_000;
const maxPauses = 16;

interface Remembered {
  readonly names: Names;
  readonly stamp: string;
  readonly inode: bigint;
  /** The folder had been at rest when it was read, so that an equal stamp proves equal names. */
  readonly settled: boolean;
  readonly readAt: number;
  usedAt: number;
  /** Keys at which pages ended. */
  readonly pauses: Set<string>;
}

/**
 * Remembers the names of the few large folders that were read last, so that a listing in pages of a folder with 100,000
 * files does not read and sort it for each page. A first page always sees what is there; later pages of the same listing
 * may use the first one's names for 10 s, also while files keep arriving: the next listing shows those.
 */
export function createFolderNames(clock: Clock): FolderNames {
  const memory = createMemory(clock);
  return {
    read: async (id, directory, resume) => {
      const stats = await directory.stat();
      const stamp = `${stats.mtimeNs}-${stats.ctimeNs}`;
      const known = memory.get(id);
      if (
        known !== undefined &&
        known.inode === stats.ino &&
        isFresh(known, stamp, resume, clock.monotonic())
      ) {
        known.usedAt = clock.monotonic();
        return known.names;
      }
      // Both: programs that copy folders set an old mtime when they are done.
      const changed = stats.ctimeMs > stats.mtimeMs ? stats.ctimeMs : stats.mtimeMs;
      const settled = clock.now() - Number(changed) > settledMs;
      const names = await readNames(directory);
      const readAt = clock.monotonic();
      memory.set(id, { names, stamp, inode: stats.ino, settled, readAt, usedAt: readAt, pauses: new Set() });
      return names;
    },
    paused: (id, key) => {
      const pauses = memory.get(id)?.pauses;
      if (pauses === undefined) return;
      for (const oldest of pauses) {
        if (pauses.size < maxPauses) break;
        pauses.delete(oldest);
      }
      pauses.add(key);
    },
  };
}

interface Memory {
  get(id: string): Remembered | undefined;
  /** Forgets what it is too small for, and others where it is too full. */
  set(id: string, entry: Remembered): void;
}

function createMemory(clock: Clock): Memory {
  const entries = new Map<string, Remembered>();
  let forgetting = false;
  const forget = async (): Promise<void> => {
    while (entries.size > 0) {
      await clock.sleep(idleMs);
      for (const [id, entry] of entries) {
        if (clock.monotonic() - entry.usedAt > idleMs) entries.delete(id);
      }
    }
    forgetting = false;
  };
  return {
    get: (id) => entries.get(id),
    set: (id, entry) => {
      entries.delete(id);
      if (entry.names.length < worthKeeping) return;
      entries.set(id, entry);
      let total = 0;
      for (const { names } of entries.values()) total += names.length;
      for (const [oldest, { names }] of entries) {
        // The newest stays, however large: it is being paged through.
        if (oldest === id || (entries.size <= maxFolders && total <= maxNames)) break;
        entries.delete(oldest);
        total -= names.length;
      }
      if (forgetting) return;
      forgetting = true;
      void forget();
    },
  };
}

function isFresh(entry: Remembered, stamp: string, resume: string | undefined, now: number): boolean {
  if (entry.settled && entry.stamp === stamp) return true;
  return resume !== undefined && entry.pauses.has(resume) && now - entry.readAt < resumeMs;
}

async function readNames(directory: Directory): Promise<Names> {
  const names: string[] = [];
  let plain = true;
  for await (const entry of await opendir(directory.self, { bufferSize: 512 })) {
    if (entry.isFile()) names.push(entry.name);
    else if (entry.isDirectory()) names.push(`${entry.name}/`);
    else continue;
    // From D800 on UTF-16, which `sort` uses, and UTF-8 differ in order.
    plain &&= !/[\ud800-\uffff]/.test(entry.name);
  }
  if (plain) return names.sort();
  // Names that are not UTF-8 may look alike once they are decoded.
  return names.sort(compareKeys).filter((name, at) => name !== names[at - 1]);
}
