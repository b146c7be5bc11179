import { watch } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { AppError, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { NotificationHandlers, NotificationSource, WriteEvents } from '../ports.ts';
import { createWake } from '../wake.ts';
import { createCandidates, createDelivered, type Delivered } from './folder-candidates.ts';
import { createFolderTree, type WatchFolder } from './folder-tree.ts';
import { newWatchState, runWatchLoop, type WatchLoop, type WatchState } from './folder-watch-loop.ts';
import { createNoOpenFiles, createProcOpenFiles } from './open-files.ts';
import { createSettling } from './settling.ts';
import { createWatchPlan } from './watch-plan.ts';
import { createWrittenObjects } from './written-objects.ts';

export interface FolderWatcherDeps {
  /** The folder whose folders are the buckets. */
  readonly bucketsRoot: string;
  readonly objects: Pick<ObjectStore, 'head'> & WriteEvents;
  /** Milliseconds that a file must stay the same. @default 1000 */
  readonly settleMs?: number;
  /** Files that may be waited for at the same time; past it folders are listed instead. @default 50000 */
  readonly maxCandidates?: number;
  /** @default process.platform */
  readonly platform?: NodeJS.Platform;
  /** @default fs.watch */
  readonly watch?: WatchFolder;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Buckets that are folders: a file that appears in an input folder, and stays the same for a while with nobody writing to
 * it, is an object. Events only name what to look at; what they miss is listed.
 */
export function createFolderWatcher(deps: FolderWatcherDeps): NotificationSource {
  const current: { watcher?: Watcher } = {};
  const running = (): Watcher => {
    if (current.watcher === undefined)
      throw new AppError('unavailable', 'The folder watcher is not running.');
    return current.watcher;
  };
  return {
    start: async (handlers) => {
      current.watcher = startWatcher(deps, await realRoot(deps.bucketsRoot), handlers);
    },
    setPrefixes: async (paths) => running().follow(paths),
    ready: async (objects) => {
      const paths = objects.map(({ bucket, key }) => `${bucket}/${key}`);
      const unfinished = await running().unfinished(paths);
      return paths.map((path) => !unfinished.has(path));
    },
    expect: (objects) => {
      current.watcher?.expect(objects.map(({ bucket, key }) => `${bucket}/${key}`));
    },
    stop: async () => {
      const { watcher } = current;
      delete current.watcher;
      await watcher?.stop();
    },
  };
}

async function realRoot(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    throw new AppError(
      'unavailable',
      `The buckets folder ${path} cannot be watched (${systemCode(error) ?? 'unknown error'}).`,
      {
        cause: error,
      },
    );
  }
}

interface Watcher {
  follow(paths: readonly BucketPath[]): Promise<void>;
  unfinished(paths: readonly string[]): Promise<ReadonlySet<string>>;
  expect(paths: readonly string[]): void;
  stop(): Promise<void>;
}

function startWatcher(deps: FolderWatcherDeps, root: string, handlers: NotificationHandlers): Watcher {
  const { clock, log } = deps;
  const state = newWatchState();
  const delivered = createDelivered();
  const isInput = (path: string): boolean => {
    const folder = path.slice(0, path.lastIndexOf('/'));
    return state.plan.kindOf(folder) === 'input' && state.plan.concerns(path);
  };
  const loop = buildLoop(deps, { root, handlers, state, delivered, isInput });
  const written = createWrittenObjects({ handlers, clock, log, onDelivered: delivered.add });
  const unsubscribe = deps.objects.onWrite(({ info }) => {
    if (!isInput(`${info.bucket}/${info.key}`) || written.add(info)) return;
    state.lossSince ??= clock.monotonic();
    loop.wake.ring();
  });
  const running = runWatchLoop(loop);
  return {
    follow: async (paths) => {
      state.paths = paths;
      state.plan = createWatchPlan(paths);
      state.planned = true;
      const follower = Promise.withResolvers<void>();
      state.followers.push(follower);
      loop.wake.ring();
      return follower.promise;
    },
    unfinished: loop.candidates.unfinished,
    expect: (paths) => {
      for (const path of paths) loop.onListed(path);
    },
    stop: async () => {
      state.stopped = true;
      unsubscribe();
      loop.wake.ring();
      await Promise.all([running, written.stop()]);
    },
  };
}

function buildLoop(
  deps: FolderWatcherDeps,
  given: {
    root: string;
    handlers: NotificationHandlers;
    state: WatchState;
    delivered: Delivered;
    isInput: (path: string) => boolean;
  },
): WatchLoop & { readonly onListed: (path: string) => void } {
  const { clock, log, objects, settleMs = 1000, maxCandidates: limit = 50_000 } = deps;
  const { root, handlers, state, delivered, isInput } = given;
  const platform = deps.platform ?? process.platform;
  const wake = createWake(clock);
  const settling = createSettling({ settleMs, limit });
  const onLoss = (): void => {
    state.lossSince ??= clock.monotonic();
    wake.ring();
  };
  const onEvent = (path: string): void => {
    state.events += 1;
    state.lastEventAt = clock.monotonic();
    if (!settling.touch(path, state.lastEventAt)) onLoss();
    wake.ring();
  };
  // Settles as if it had just been written; but whether it came before or after a service only its times tell.
  const onListed = (path: string): void => {
    if (!settling.touch(path, undefined)) onLoss();
    wake.ring();
  };
  const watch = deps.watch ?? watchFolder;
  const tree = createFolderTree({ root, watch, recursive: platform === 'darwin', log, onEvent, onLoss });
  const openFiles = platform === 'linux' ? createProcOpenFiles({ clock }) : createNoOpenFiles();
  const candidates = createCandidates({
    root,
    settleMs,
    objects,
    settling,
    openFiles,
    tree,
    delivered,
    isInput,
    onListed,
    clock,
    log,
  });
  return { state, tree, settling, candidates, handlers, clock, wake, settleMs, limit, onListed };
}

const watchFolder: WatchFolder = (path, options, listener) =>
  watch(path, { persistent: false, recursive: options.recursive }, listener);
