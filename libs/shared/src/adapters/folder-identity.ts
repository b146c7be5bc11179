import { extname } from 'node:path';
import type { BigIntStats } from 'node:fs';
import type { ObjectInfo } from '../stores/index.ts';

/** Types of what people drop into folders; anything else is a stream of bytes. A list of its own, since only these matter. */
const typesByExtension: Readonly<Record<string, string>> = {
  '.avif': 'image/avif',
  '.bmp': 'image/bmp',
  '.csv': 'text/csv',
  '.gif': 'image/gif',
  '.gz': 'application/gzip',
  '.htm': 'text/html',
  '.html': 'text/html',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.log': 'text/plain',
  '.md': 'text/markdown',
  '.mov': 'video/quicktime',
  '.mp3': 'audio/mpeg',
  '.mp4': 'video/mp4',
  '.ndjson': 'application/x-ndjson',
  '.ogg': 'audio/ogg',
  '.parquet': 'application/vnd.apache.parquet',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.tar': 'application/x-tar',
  '.tif': 'image/tiff',
  '.tiff': 'image/tiff',
  '.tsv': 'text/tab-separated-values',
  '.txt': 'text/plain',
  '.wav': 'audio/wav',
  '.webm': 'video/webm',
  '.webp': 'image/webp',
  '.xml': 'application/xml',
  '.yaml': 'application/yaml',
  '.yml': 'application/yaml',
  '.zip': 'application/zip',
};

/** The content type of a key that nothing else is known of. */
export function defaultContentType(key: string): string {
  if (key.endsWith('/')) return 'application/x-directory';
  return typesByExtension[extname(key).toLowerCase()] ?? 'application/octet-stream';
}

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
