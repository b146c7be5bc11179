import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createFolderObjectStore,
  createSqliteObjectIndex,
  openDatabase,
  type FolderObjectStore,
} from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';

/** A folder object store in a temporary folder. */
export interface Folders {
  readonly dir: string;
  /** The folder of buckets. */
  readonly buckets: string;
  readonly objects: FolderObjectStore;
  readonly database: ReturnType<typeof openDatabase>;
  close(): Promise<void>;
}

const noPresigning = {
  sign: () => {
    throw new Error('not used here');
  },
};

export async function openFolders(): Promise<Folders> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'sluice-events-')));
  const log = silentLogger();
  const database = openDatabase({ path: join(dir, 'sluice.db'), clock: systemClock, log });
  const objects = await createFolderObjectStore({
    bucketsRoot: join(dir, 'buckets'),
    systemRoot: join(dir, 'system'),
    tempRoot: join(dir, 'tmp'),
    index: createSqliteObjectIndex(database),
    clock: systemClock,
    log,
    presign: noPresigning,
  });
  return {
    dir,
    buckets: join(dir, 'buckets'),
    objects,
    database,
    close: async () => {
      await objects.close();
      await database.close();
      await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
