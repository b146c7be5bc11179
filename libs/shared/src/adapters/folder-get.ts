import { constants } from 'node:fs';
import { lstat, open, type FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { ObjectBody, ObjectHead, ObjectInfo } from '../stores/index.ts';
import { fileBody } from './folder-body.ts';
import { noObject, objectName, preconditionFailed, readError, unlessCode } from './folder-errors.ts';
import { defaultContentType } from './default-content-type.ts';
import { infoOf } from './folder-identity.ts';
import { objectPlace, openForReading, type ObjectPlace } from './folder-place.ts';
import type { FolderParts } from './folder-remove.ts';

/** The store's `head`. */
export async function headObject(
  parts: FolderParts,
  bucket: string,
  key: string,
): Promise<ObjectHead | undefined> {
  const place = objectPlace(parts.roots, bucket, key);
  try {
    const directory = await openForReading(parts.directories, parts.roots, place);
    if (directory === undefined) return undefined;
    try {
      const stats = await unlessCode(['ENOENT'], async () =>
        lstat(directory.path(place.name), { bigint: true }),
      );
      const fits = isMarker(place) ? stats?.isDirectory() : stats?.isFile();
      if (stats === undefined || fits !== true) return undefined;
      return await withRecord(parts, infoOf(bucket, key, stats));
    } finally {
      await directory.release();
    }
  } catch (error) {
    throw readError(error, `look at ${objectName(bucket, key)}`);
  }
}

/** The store's `get`. Body and info are of one opened file, whatever happens to its name meanwhile. */
export async function getObject(
  parts: FolderParts,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  options: { readonly ifMatch?: string; readonly signal?: AbortSignal },
): Promise<ObjectBody> {
  const place = objectPlace(parts.roots, bucket, key);
  try {
    const handle = await openObject(parts, place);
    if (handle === undefined) throw noObject(bucket, key);
    let streaming = false;
    try {
      const opened = await openedBody(parts, place, handle, options);
      streaming = !isMarker(place);
      return opened;
    } finally {
      if (!streaming) await handle.close();
    }
  } catch (error) {
    throw readError(error, `read ${objectName(bucket, key)}`);
  }
}

async function openedBody(
  parts: FolderParts,
  place: ObjectPlace,
  handle: FileHandle,
  options: { readonly ifMatch?: string; readonly signal?: AbortSignal },
): Promise<ObjectBody> {
  const { bucket, key } = place;
  const stats = await handle.stat({ bigint: true });
  if (!(isMarker(place) ? stats.isDirectory() : stats.isFile())) throw noObject(bucket, key);
  const info = await withRecord(parts, infoOf(bucket, key, stats));
  if (options.ifMatch !== undefined && options.ifMatch !== info.etag) throw preconditionFailed(bucket, key);
  if (isMarker(place)) return { info, body: Readable.from([]) };
  return { info, body: fileBody(handle, stats, `read ${objectName(bucket, key)}`, options.signal) };
}

async function openObject(parts: FolderParts, place: ObjectPlace): Promise<FileHandle | undefined> {
  const directory = await openForReading(parts.directories, parts.roots, place);
  if (directory === undefined) return undefined;
  const path = directory.path(place.name);
  // Never through a link, and never waiting for the other side of a FIFO, should one be swapped in after the look.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    // ENXIO and the others: sockets, and devices without a driver.
    return await unlessCode(['ENOENT', 'ELOOP', 'ENXIO', 'ENODEV', 'EOPNOTSUPP'], async () => {
      // First, since opening a device can already do something.
      const stats = await lstat(path);
      return stats.isFile() || stats.isDirectory() ? open(path, flags) : undefined;
    });
  } finally {
    await directory.release();
  }
}

function isMarker(place: ObjectPlace): boolean {
  return place.key.endsWith('/');
}

async function withRecord({ index }: FolderParts, info: ObjectInfo): Promise<ObjectHead> {
  const record = await index.get({ bucket: info.bucket, key: info.key, identity: info.identity });
  const { contentType = defaultContentType(info.key), metadata = {} } = record ?? {};
  return { ...info, contentType, metadata };
}
