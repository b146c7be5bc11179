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
  /** Paths to be looked at: touched since the last look, oldest first. */
  touched(max: number): readonly string[];
  readonly touchedCount: number;
  /** What a look showed; starts the time anew if it is not what the last one showed. */
  looked(path: string, look: FileLook, now: number): void;
  /** Paths that have been the same for the settle time. */
  due(now: number, max: number): readonly Candidate[];
  /** Not before `until`. */
  postpone(path: string, until: number): void;
  /** Handed over; stays on the list if it was touched in the meantime. */
  done(path: string): void;
  drop(path: string): void;
  readonly size: number;
  /** When the next path falls due; infinity if none waits. */
  nextDue(): number;
}

interface Entry {
  seenAt: number;
  look: FileLook | undefined;
  dueAt: number;
}

export function createSettling(options: { settleMs: number; limit: number }): Settling {
  const entries = new Map<string, Entry>();
  const touched = new Map<string, number>();
  return {
    touch: (path, now) => {
      if (!entries.has(path)) {
        if (entries.size >= options.limit) return false;
        entries.set(path, { seenAt: now, look: undefined, dueAt: Number.POSITIVE_INFINITY });
      }
      if (!touched.has(path)) touched.set(path, now);
      return true;
    },
    has: (path) => entries.has(path),
    touched: (max) => [...touched.keys().take(max)],
    get touchedCount() {
      return touched.size;
    },
    looked: (path, look, now) => {
      touched.delete(path);
      const entry = entries.get(path);
      if (entry === undefined || (entry.look !== undefined && sameLook(entry.look, look))) return;
      entry.look = look;
      entry.dueAt = now + options.settleMs;
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
      if (entry !== undefined) entry.dueAt = until;
    },
    done: (path) => {
      const again = touched.get(path);
      if (again === undefined) entries.delete(path);
      else entries.set(path, { seenAt: again, look: undefined, dueAt: Number.POSITIVE_INFINITY });
    },
    drop: (path) => {
      entries.delete(path);
      touched.delete(path);
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

export function sameLook(a: FileLook, b: FileLook): boolean {
  return (
    a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.dev === b.dev
  );
}
