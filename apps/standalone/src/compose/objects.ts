import { join } from 'node:path';
import {
  createFolderObjectStore,
  createPresigner,
  createSqliteObjectIndex,
  type Database,
  type Presigner,
} from '@sluice/shared/adapters';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { createFolderWatcher } from '@sluice/storage-events/adapters';
import type { NotificationSource } from '@sluice/storage-events';
import { keepSecret, type DataFolder } from '../data-folder.ts';
import { createUpkeep } from '../upkeep.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';

export interface ObjectsDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly database: Database;
  /** The address that presigned URLs begin with. */
  readonly baseUrl: () => string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Where objects are, and where word of new ones comes from: the two belong together. */
export interface ObjectsParts {
  readonly choice: AdapterChoice;
  readonly objects: ObjectStore;
  readonly presigner: Presigner;
  readonly createSource: (settleMs: number) => NotificationSource;
  /** Folder of the buckets where they are folders. */
  readonly bucketsPath: string | undefined;
  close(): Promise<void>;
}

/** Buckets as folders of this machine. */
export async function composeObjects(deps: ObjectsDeps): Promise<ObjectsParts> {
  const { config, folder, database, baseUrl, clock, log } = deps;
  const key = (await keepSecret(join(folder.root, 'presign-key'), 32)).secret;
  const presigner = createPresigner({ key, baseUrl, clock });
  const objects = await createFolderObjectStore({
    bucketsRoot: folder.buckets,
    systemRoot: folder.system,
    tempRoot: folder.temp,
    index: createSqliteObjectIndex(database),
    clock,
    log,
    presign: presigner,
  });
  const upkeep = createUpkeep({ objects, recordsMs: config.TTL_JOB * 1000, clock, log });
  return {
    choice: { port: 'objects', adapter: 'folders', chosenBy: 'the only one of this version' },
    objects,
    presigner,
    createSource: (settleMs) =>
      createFolderWatcher({ bucketsRoot: folder.buckets, objects, settleMs, clock, log }),
    bucketsPath: folder.buckets,
    close: async () => {
      await upkeep.stop();
      await objects.close();
    },
  };
}
