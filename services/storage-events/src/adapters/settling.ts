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
  /** When the change that is being waited out was first seen. */
  readonly seenAt: number;
  readonly look: FileLook;
}

/**
 * Files between the first sign of a change and the moment when they have stayed the same for long enough. Time is monotonic,
 * so that a clock that is set makes no difference. At most `limit` paths.
 */
export interface Settling {
  /** Something happened to the path. False when there is no room for another one. */
  touch(path: string, now: number): boolean;
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
  readonly seenAt: number;
  readonly look: FileLook | undefined;
  readonly dueAt: number;
}

export function createSettling(options: { settleMs: number; limit: number }): Settling {
  const entries = new Map<string, Entry>();
  const touched = new Map<string, number>();
  const unseen = (now: number): Entry => ({ seenAt: now, look: undefined, dueAt: Number.POSITIVE_INFINITY });
  return {
    touch: (path, now) => {
      if (!entries.has(path)) {
        if (entries.size >= options.limit) return false;
        entries.set(path, unseen(now));
      }
      if (!touched.has(path)) touched.set(path, now);
      return true;
    },
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
      const again = touched.get(path);
      if (again === undefined) entries.delete(path);
      else entries.set(path, unseen(again));
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

function takeFirst(touched: Map<string, number>, max: number): readonly string[] {
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
