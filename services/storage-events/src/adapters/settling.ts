/** What tells two states of a file apart. */
export interface FileLook {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** A path that something happened to. Times are monotonic milliseconds. */
export interface Candidate {
  readonly path: string;
  /** When the change that is being waited out was first seen; undefined where a listing found the file. */
  readonly seenAt: number | undefined;
  readonly look: FileLook;
}

/**
 * Files between the first sign of a change and the moment when they have stayed the same for long enough. Time is monotonic,
 * so that a clock that is set makes no difference. At most `limit` paths.
 */
export interface Settling {
  /**
   * Something happened to the path, at `seenAt`; or a listing found it, and nobody knows when it came.
   * False when there is no room for another one.
   */
  touch(path: string, seenAt: number | undefined): boolean;
  /** Whether nothing but a listing named the path. */
  isListed(path: string): boolean;
  has(path: string): boolean;
  /** Paths to be looked at: touched since they were last taken, oldest first. */
  takeTouched(max: number): readonly string[];
  readonly touchedCount: number;
  /** What a look showed; starts the time anew if it is not what the last one showed. */
  looked(path: string, look: FileLook, now: number): void;
  /** Paths that have been the same for the settle time. */
  due(now: number, max: number): readonly Candidate[];
  /** Not before `until`. */
  postpone(path: string, until: number): void;
  /** Handed over, or of no interest. Stays on the list if it was touched in the meantime. */
  drop(path: string): void;
  readonly size: number;
  /** When the next path falls due; infinity if none waits. */
  nextDue(): number;
}

interface Entry {
  readonly seenAt: number | undefined;
  readonly look: FileLook | undefined;
  readonly dueAt: number;
}

export function createSettling(options: { settleMs: number; limit: number }): Settling {
  const entries = new Map<string, Entry>();
  const touched = new Map<string, number | undefined>();
  const unseen = (seenAt: number | undefined): Entry => ({
    seenAt,
    look: undefined,
    dueAt: Number.POSITIVE_INFINITY,
  });
  return {
    touch: (path, seenAt) => {
      const entry = entries.get(path);
      if (entry === undefined && entries.size >= options.limit) return false;
      if (entry === undefined) entries.set(path, unseen(seenAt));
      else if (entry.seenAt === undefined) entries.set(path, { ...entry, seenAt });
      touched.set(path, touched.get(path) ?? seenAt);
      return true;
    },
    isListed: (path) => entries.has(path) && entries.get(path)?.seenAt === undefined,
    has: (path) => entries.has(path),
    // Taken before the look, so that what happens during it is another touch.
    takeTouched: (max) => takeFirst(touched, max),
    get touchedCount() {
      return touched.size;
    },
    looked: (path, look, now) => {
      const entry = entries.get(path);
      if (entry === undefined || (entry.look !== undefined && sameLook(entry.look, look))) return;
      entries.set(path, { seenAt: entry.seenAt, look, dueAt: now + options.settleMs });
    },
    due: (now, max) => {
      const due: Candidate[] = [];
      for (const [path, { look, seenAt, dueAt }] of entries) {
        if (due.length >= max) break;
        if (look !== undefined && dueAt <= now && !touched.has(path)) due.push({ path, seenAt, look });
      }
      return due;
    },
    postpone: (path, until) => {
      const entry = entries.get(path);
      if (entry !== undefined) entries.set(path, { ...entry, dueAt: until });
    },
    drop: (path) => {
      if (touched.has(path)) entries.set(path, unseen(touched.get(path)));
      else entries.delete(path);
    },
    get size() {
      return entries.size;
    },
    nextDue: () => {
      let next = Number.POSITIVE_INFINITY;
      for (const { dueAt } of entries.values()) next = Math.min(next, dueAt);
      return next;
    },
  };
}

function takeFirst(touched: Map<string, unknown>, max: number): readonly string[] {
  const paths: string[] = [];
  for (const path of touched.keys()) {
    if (paths.length >= max) break;
    paths.push(path);
  }
  for (const path of paths) touched.delete(path);
  return paths;
}

export function sameLook(a: FileLook, b: FileLook): boolean {
  return (
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.ino === b.ino &&
    a.dev === b.dev
  );
}
