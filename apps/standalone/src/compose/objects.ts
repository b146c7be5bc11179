import { join } from 'node:path';
import {
  createFolderObjectStore,
  createPresigner,
  createS3ObjectStore,
  createSqliteObjectIndex,
  s3Settings,
  type Database,
  type Presigner,
  type S3Settings,
} from '@sluice/shared/adapters';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { createObjectUpkeep, type ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { createFolderWatcher, createS3Notifications } from '@sluice/storage-events/adapters';
import type { NotificationSource } from '@sluice/storage-events';
import { keepSecret, type DataFolder } from '../data-folder.ts';
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
  /** Checks presigned URLs of this server. */
  readonly presigner: Pick<Presigner, 'verify'>;
  readonly createSource: (settleMs: number) => NotificationSource;
  /** Whether an object may still be written to when it is seen: files are, objects on S3 are not. */
  readonly settles: boolean;
  /** Folder of the buckets where they are folders. */
  readonly bucketsPath: string | undefined;
  close(): Promise<void>;
}

export async function composeObjects(deps: ObjectsDeps): Promise<ObjectsParts> {
  const settings = s3Settings(deps.config);
  return settings === undefined ? composeFolders(deps) : composeS3(deps, settings);
}

/** @throws AppError when the S3 server cannot be used, with what to mend */
async function composeS3(
  { config, clock, log }: ObjectsDeps,
  { connection, publicEndpoint }: S3Settings,
): Promise<ObjectsParts> {
  const objects = await createS3ObjectStore({ connection, publicEndpoint, clock });
  try {
    await objects.check();
  } catch (error) {
    await objects.close();
    throw new AppError(
      'unavailable',
      `The S3 server at MINIO_ENDPOINT (${connection.endpoint.origin}) cannot be used. ${messageOf(error)} Start it, or mend the variables MINIO_…; without MINIO_ENDPOINT buckets are folders.`,
      { cause: error },
    );
  }
  const upkeep = createObjectUpkeep({ objects, recordsMs: config.TTL_JOB * 1000, clock, log });
  return {
    choice: { port: 'objects', adapter: `S3 at ${connection.endpoint.origin}`, chosenBy: 'MINIO_ENDPOINT' },
    objects,
    presigner: {
      verify: () => {
        throw new AppError('forbidden', 'Presigned URLs of this installation lead to its S3 server.');
      },
    },
    createSource: () => createS3Notifications({ listen: objects.listen, objects, clock, log }),
    settles: false,
    bucketsPath: undefined,
    close: async () => {
      await upkeep.stop();
      await objects.close();
    },
  };
}

/** Buckets as folders of this machine. */
async function composeFolders(deps: ObjectsDeps): Promise<ObjectsParts> {
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
  const upkeep = createObjectUpkeep({ objects, recordsMs: config.TTL_JOB * 1000, clock, log });
  return {
    choice: { port: 'objects', adapter: 'folders', chosenBy: 'MINIO_ENDPOINT is not set' },
    objects,
    presigner,
    createSource: (settleMs) =>
      createFolderWatcher({ bucketsRoot: folder.buckets, objects, settleMs, clock, log }),
    settles: true,
    bucketsPath: folder.buckets,
    close: async () => {
      await upkeep.stop();
      await objects.close();
    },
  };
}
