import type { BigIntStats } from 'node:fs';
import type { ObjectInfo } from '../stores/index.ts';

/** Size, modification time in ns and inode: another one after every write, the same after `touch -r`-less looks at it. */
export function identityOf(stats: BigIntStats): string {
  return `${stats.size}-${stats.mtimeNs}-${stats.ino}`;
}

/**
 * The identity in fixed-width hex. 46 digits, so that no client takes it for an MD5 of the content.
 * A folder's depends on its inode only: it has no content, and what is put into it must not change it.
 */
function etagOf(stats: BigIntStats): string {
  const [size, time] = stats.isDirectory() ? [0n, 0n] : [stats.size, stats.mtimeNs];
  return hex(time, 16) + hex(stats.ino, 16) + hex(size, 14);
}

function hex(value: bigint, digits: number): string {
  return BigInt.asUintN(digits * 4, value)
    .toString(16)
    .padStart(digits, '0');
}

/** An object as its file shows it. `changedAt` is the ctime: also a file that keeps an old mtime (`cp -p`, `mv`) arrives with a new one. */
export function infoOf(bucket: string, key: string, stats: BigIntStats): ObjectInfo {
  return {
    bucket,
    key,
    size: stats.isDirectory() ? 0 : Number(stats.size),
    etag: etagOf(stats),
    identity: stats.isDirectory() ? `folder-${stats.ino}` : identityOf(stats),
    lastModified: milliseconds(stats.mtimeNs),
    changedAt: milliseconds(stats.ctimeNs),
  };
}

/** Rounded down, also before 1970. */
function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n) - (nanoseconds < 0n && nanoseconds % 1_000_000n !== 0n ? 1 : 0);
}
