import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  createFolderObjectStore,
  createPresigner,
  createSqliteObjectIndex,
  openDatabase,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { tempFolder } from './support.ts';

export interface TestStore {
  readonly objects: ObjectStore;
  /** The buckets' folder. */
  readonly buckets: string;
  close(): Promise<void>;
}

/** A store in folders, with the bucket `photos`. */
export async function openTestStore(): Promise<TestStore> {
  const dir = tempFolder();
  const clock = systemClock;
  const log = silentLogger();
  const database = openDatabase({ path: join(dir, 'test.db'), clock, log });
  const buckets = join(dir, 'buckets');
  const store = await createFolderObjectStore({
    bucketsRoot: buckets,
    systemRoot: join(dir, 'system'),
    tempRoot: join(dir, 'temp'),
    index: createSqliteObjectIndex(database),
    clock,
    log,
    presign: createPresigner({ key: new Secret('k'.repeat(32)), baseUrl: () => 'http://localhost', clock }),
  });
  await store.createBucket('photos', {});
  return {
    objects: store,
    buckets,
    close: async () => {
      await store.close();
      await database.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
