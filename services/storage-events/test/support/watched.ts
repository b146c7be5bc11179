import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { splitPath, type BucketPath } from '@sluice/shared/stores';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { createFolderWatcher, type FolderWatcherDeps } from '../../src/adapters/folder-watcher.ts';
import type { NotificationSource, ObjectNotification } from '../../src/ports.ts';
import type { Folders } from './folders.ts';

/** A watcher with a handler that notes what it gets. */
export interface Watched {
  readonly source: NotificationSource;
  readonly notifications: ObjectNotification[];
  readonly gaps: BucketPath[];
  readonly batches: number[];
  /** `bucket/key` of what was handed over, in order. */
  keys(): readonly string[];
  /** How often an object was handed over. */
  count(path: string): number;
  /** Waits until the object is handed over (so many times). */
  handedOver(path: string, times?: number): Promise<ObjectNotification>;
  /** Everything that happened before has been handed over by then, if it ever is: a file in photos/in that came later was. */
  passed(): Promise<void>;
  /** `bucket/key` of what was handed over, without the files of `passed`. */
  others(): readonly string[];
  /** While set, batches are refused. */
  refuse: boolean;
}

export const settleMs = 120;

export async function watchFolders(
  folders: Folders,
  paths: readonly string[],
  options: Partial<FolderWatcherDeps> = {},
): Promise<Watched> {
  const source = createFolderWatcher({
    bucketsRoot: folders.buckets,
    objects: folders.objects,
    settleMs,
    clock: systemClock,
    log: silentLogger(),
    ...options,
  });
  const notifications: ObjectNotification[] = [];
  const gaps: BucketPath[] = [];
  const batches: number[] = [];
  const pathOf = ({ object }: ObjectNotification): string => `${object.bucket}/${object.key}`;
  const count = (path: string): number => notifications.filter((one) => pathOf(one) === path).length;
  let markers = 0;
  const watched: Watched = {
    source,
    notifications,
    gaps,
    batches,
    refuse: false,
    passed: async () => {
      markers += 1;
      const name = `marker-${markers}-${Math.random()}`;
      await writeFile(join(folders.buckets, 'photos/in', name), name);
      await watched.handedOver(`photos/in/${name}`);
    },
    others: () => watched.keys().filter((path) => !path.includes('/marker-')),
    keys: () => notifications.map(pathOf),
    count,
    handedOver: (path, times = 1) =>
      eventually(
        `${path} is handed over`,
        () => (count(path) < times ? undefined : notifications.findLast((one) => pathOf(one) === path)),
        15_000,
      ),
  };
  await source.start({
    onNotifications: async (batch) => {
      if (watched.refuse) throw new Error('refused');
      batches.push(batch.length);
      notifications.push(...batch);
    },
    onGap: (path) => {
      gaps.push(path);
    },
  });
  await source.setPrefixes(paths.map((path) => splitPath(path)));
  return watched;
}
