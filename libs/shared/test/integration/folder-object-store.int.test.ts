import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFolderObjectStore } from '../../src/adapters/folder-object-store.ts';
import { createSqliteObjectIndex } from '../../src/adapters/folder-index-sqlite.ts';
import { createPresigner } from '../../src/adapters/presign.ts';
import { openDatabase } from '../../src/adapters/sqlite-database.ts';
import { Secret } from '../../src/config/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import { describeObjectStore } from '../../src/testing/object-store.suite.ts';

describeObjectStore('folders', async () => {
  const root = await mkdtemp(join(tmpdir(), 'sluice-folders-'));
  const clock = systemClock;
  const log = silentLogger();
  const database = openDatabase({ path: join(root, 'sluice.db'), clock, log });
  const store = await createFolderObjectStore({
    bucketsRoot: join(root, 'buckets'),
    systemRoot: join(root, 'system'),
    tempRoot: join(root, 'tmp'),
    index: createSqliteObjectIndex(database),
    presign: createPresigner({ key: new Secret('k'.repeat(32)), baseUrl: () => 'http://localhost', clock }),
    clock,
    log,
  });
  return {
    store,
    close: async () => {
      await store.close();
      await database.close();
      await rm(root, { recursive: true });
    },
  };
});
