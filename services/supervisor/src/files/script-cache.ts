import { createHash, randomUUID } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '@sluice/shared/errors';

/** Scripts on disk, one file for each text, so that a run costs one `stat` and no write. */
export interface ScriptCache {
  /**
   * The path of a file with exactly this text. Valid at least until 1000 other scripts were asked for.
   * @throws the system's error where it cannot be written
   */
  ensure(text: string): string;
}

/** What tells an unchanged file from another, or undefined while nobody looked inside. */
type Seen = string | undefined;

/**
 * Keeps scripts in a folder of its own. What is found there from an earlier process is believed only after a look inside (a crash may
 * have left half a file), and written again when it was changed or is gone (a cleaner of temporary files).
 * @param limit files kept; the one that was not used for longest goes first
 */
export function createScriptCache(dir: string, limit = 1000): ScriptCache {
  /** By name, the one used last at the end. */
  let known: Map<string, Seen> | undefined;
  return {
    ensure: (text) => {
      known ??= readFolder(dir);
      const name = `${createHash('sha256').update(text).digest('hex')}.sh`;
      const path = join(dir, name);
      let seen = known.get(name);
      known.delete(name);
      if (!isIntact(path, text, seen)) writeWhole(dir, path, text);
      seen = fingerprint(statSync(path));
      known.set(name, seen);
      if (known.size > limit) dropOldest(dir, known);
      return path;
    },
  };
}

function readFolder(dir: string): Map<string, Seen> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const known = new Map<string, Seen>();
  for (const name of readdirSync(dir)) {
    if (name.endsWith('.sh')) known.set(name, undefined);
    else if (name.endsWith('.new')) unlinkSync(join(dir, name));
  }
  return known;
}

function isIntact(path: string, text: string, seen: Seen): boolean {
  try {
    if (seen !== undefined && fingerprint(statSync(path)) === seen) return true;
    return readFileSync(path, 'utf8') === text;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function fingerprint(stats: Stats): string {
  return `${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
}

function writeWhole(dir: string, path: string, text: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const next = join(dir, `${randomUUID()}.new`);
  writeFileSync(next, text, { mode: 0o600, flag: 'wx' });
  renameSync(next, path);
}

function dropOldest(dir: string, known: Map<string, Seen>): void {
  const [oldest] = known.keys();
  if (oldest === undefined) return;
  known.delete(oldest);
  try {
    unlinkSync(join(dir, oldest));
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
