import { readFileSync, readlinkSync, readdirSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '@sluice/shared/lifecycle';
import type { FileLook } from './settling.ts';

/** Tells which files somebody is writing. */
export interface OpenFiles {
  /**
   * Of these files (by real path), those that some process which we may see has open for writing. Other users' processes
   * and other machines' are not seen.
   */
  writtenTo(files: ReadonlyMap<string, Pick<FileLook, 'dev' | 'ino'>>): Promise<ReadonlySet<string>>;
  /** Milliseconds until another look is fair: looking takes at most about a tenth of the time. */
  restMs(): number;
}

const restFactor = 9;
/** The event loop is not held longer than about this; what is read are kernel tables, which never block. */
const sliceMs = 4;
const linksASlice = 64;
const writing = 0o3;

/** For systems without `/proc`, where only time tells. */
export function createNoOpenFiles(): OpenFiles {
  return { writtenTo: async () => new Set(), restMs: () => 0 };
}

/**
 * Looks through the descriptors of all processes at once (Linux): a link in `/proc/<pid>/fd` names each open file, and
 * `fdinfo` how it was opened. A file under another name, as a container sees it, is recognised by its inode.
 */
export function createProcOpenFiles(options: { clock: Clock; proc?: string }): OpenFiles {
  const { clock, proc = '/proc' } = options;
  let restUntil = 0;
  return {
    writtenTo: async (files) => {
      const found = new Set<string>();
      if (files.size === 0) return found;
      const began = clock.monotonic();
      const wanted = byName(files);
      let sliceBegan = began;
      let links = 0;
      for (const folder of descriptorFolders(proc)) {
        for (const descriptor of entriesOf(folder)) {
          const path = writtenFile(folder, descriptor, wanted);
          if (path !== undefined) found.add(path);
          links += 1;
          if (links % linksASlice !== 0 || clock.monotonic() - sliceBegan < sliceMs) continue;
          await nextTurn();
          sliceBegan = clock.monotonic();
        }
      }
      const ended = clock.monotonic();
      restUntil = ended + (ended - began) * restFactor;
      return found;
    },
    restMs: () => Math.max(0, restUntil - clock.monotonic()),
  };
}

interface WantedFile extends Pick<FileLook, 'dev' | 'ino'> {
  readonly path: string;
}

function byName(
  files: ReadonlyMap<string, Pick<FileLook, 'dev' | 'ino'>>,
): ReadonlyMap<string, WantedFile[]> {
  const wanted = new Map<string, WantedFile[]>();
  for (const [path, { dev, ino }] of files) {
    const name = basename(path);
    const same = wanted.get(name) ?? [];
    wanted.set(name, same);
    same.push({ path, dev, ino });
  }
  return wanted;
}

function* descriptorFolders(proc: string): Iterable<string> {
  for (const name of entriesOf(proc)) if (/^\d+$/.test(name)) yield `${proc}/${name}/fd`;
}

/** Processes end while we look, and those of other users may not be looked into. */
function entriesOf(folder: string): readonly string[] {
  return unlessGone(() => readdirSync(folder)) ?? [];
}

function writtenFile(
  folder: string,
  descriptor: string,
  wanted: ReadonlyMap<string, readonly WantedFile[]>,
): string | undefined {
  const link = unlessGone(() => readlinkSync(`${folder}/${descriptor}`));
  // Sockets, pipes and the like have no path.
  if (link?.startsWith('/') !== true) return undefined;
  const candidates = wanted.get(basename(link));
  if (candidates === undefined) return undefined;
  const file =
    candidates.find(({ path }) => path === link) ?? sameInode(candidates, `${folder}/${descriptor}`);
  return file !== undefined && isOpenForWriting(folder, descriptor) ? file.path : undefined;
}

function sameInode(candidates: readonly WantedFile[], path: string): WantedFile | undefined {
  const stats = unlessGone(() => statSync(path, { bigint: true }));
  if (stats === undefined) return undefined;
  return candidates.find(({ dev, ino }) => dev === stats.dev && ino === stats.ino);
}

function isOpenForWriting(folder: string, descriptor: string): boolean {
  const info = unlessGone(() => readFileSync(`${folder.slice(0, -'fd'.length)}fdinfo/${descriptor}`, 'utf8'));
  const flags = /^flags:\s*([0-7]+)$/m.exec(info ?? '')?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & writing) !== 0;
}

/** Undefined for whatever `/proc` refuses: a process that has ended, or one of somebody else. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
