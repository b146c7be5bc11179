import type { Clock } from '../lifecycle/index.ts';
import { SYSTEM_BUCKET, type ObjectHead, type ObjectStore } from '../stores/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createFolderBuckets, removeAllTrash } from './folder-buckets.ts';
import { createDirectories } from './folder-directory.ts';
import { noBucket } from './folder-errors.ts';
import type { ObjectIndex } from './folder-index.ts';
import { createKeyLocks } from './folder-limits.ts';
import { createListing } from './folder-listing.ts';
import { createFolderNames } from './folder-names.ts';
import { getObject, headObject } from './folder-get.ts';
import { bucketExists } from './folder-place.ts';
import { putObject } from './folder-put.ts';
import { pruneRecords, removeObject, type FolderParts } from './folder-remove.ts';
import { checkRoots, fileSystemNow, prepareRoots } from './folder-start.ts';
import { createTempFiles } from './folder-temp.ts';
import type { Presigner } from './presign.ts';

export interface FolderObjectStoreDeps {
  /** Its folders are the buckets. Made where it is absent, as are the other two; none may be inside another. */
  readonly bucketsRoot: string;
  /** The folder of the system bucket. */
  readonly systemRoot: string;
  /** Bodies on their way; on the same file system, and this process's alone: leftovers in it are removed. */
  readonly tempRoot: string;
  readonly index: ObjectIndex;
  readonly clock: Clock;
  readonly log: Logger;
  readonly presign: Pick<Presigner, 'sign'>;
}

/** An object that was written through this store and is durable. */
export interface ObjectWritten {
  readonly info: ObjectHead;
}

export interface FolderObjectStore extends ObjectStore {
  /**
   * Calls back after each durable `put` of an object (not of a folder marker, nor in the system bucket), before `put`
   * resolves. A hint: what other programs write is not told. Listeners must not throw.
   * @returns ends it
   */
  onWrite(listener: (written: ObjectWritten) => void): () => void;
  /**
   * Drops records of object states that are gone: replaced, moved or removed by hand, or never finished. Looks at each
   * record once, so call it rarely (daily). @returns how many it dropped
   */
  pruneRecords(): Promise<number>;
  /** Waits for work in the background. */
  close(): Promise<void>;
}

/** Writes to one object that may wait for each other. */
const maxWaiting = 1000;

/**
 * Buckets and objects as folders and files: `cp photo.jpg buckets/thumbnail/in/` is an upload. No path ever follows a link
 * below the roots, so that no key leaves its bucket; only regular files are objects. A file system with time stamps in
 * nanoseconds is needed (ext4, xfs, btrfs, APFS, tmpfs).
 * @throws AppError `unavailable` or `conflict` when the folders can't serve
 */
export async function createFolderObjectStore(deps: FolderObjectStoreDeps): Promise<FolderObjectStore> {
  const { index, clock, log } = deps;
  const roots = await prepareRoots({
    buckets: deps.bucketsRoot,
    system: deps.systemRoot,
    temp: deps.tempRoot,
  });
  const directories = await createDirectories(clock);
  const parts: FolderParts = { roots, directories, index, locks: createKeyLocks(maxWaiting) };
  const temp = createTempFiles(roots.temp);
  const listeners = new Set<(written: ObjectWritten) => void>();
  // May take minutes for a large bucket whose deletion was cut short: nobody has to wait for it.
  const cleaning = removeAllTrash(parts).catch((error: unknown) => {
    log.warn({ err: error }, 'leftovers of deleted buckets could not be removed; the next start tries again');
  });
  return {
    ...createFolderBuckets(parts),
    ...createListing({ roots, directories, names: createFolderNames(clock), log }),
    head: async (bucket, key) => headObject(parts, bucket, key),
    get: async (bucket, key, options = {}) => getObject(parts, { bucket, key }, options),
    put: async (bucket, key, body, options = {}) => {
      const info = await putObject({ ...parts, temp }, { bucket, key }, body, options);
      if (bucket !== SYSTEM_BUCKET && !key.endsWith('/'))
        for (const listener of listeners) listener({ info });
      return info;
    },
    remove: async (bucket, key) => removeObject(parts, bucket, key),
    presign: async (request) => {
      const url = deps.presign.sign(request);
      if (!(await bucketExists(roots, request.bucket))) throw noBucket(request.bucket);
      return url;
    },
    now: async () => fileSystemNow(roots.temp, clock),
    check: async () => checkRoots(roots),
    onWrite: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    pruneRecords: async () => pruneRecords(parts),
    close: async () => cleaning,
  };
}
