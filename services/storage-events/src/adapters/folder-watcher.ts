import { watch } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { AppError, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { NotificationHandlers, NotificationSource, WriteEvents } from '../ports.ts';
import { createWake } from '../wake.ts';
import { createCandidates, createDelivered, type Candidates } from './folder-candidates.ts';
import { createFolderTree, type FolderTree, type WatchFolder } from './folder-tree.ts';
import { createNoOpenFiles, createProcOpenFiles, type OpenFiles } from './open-files.ts';
import { createSettling, type Settling } from './settling.ts';
import { createWatchPlan, type WatchPlan } from './watch-plan.ts';
import { createWrittenObjects, type WrittenObjects } from './written-objects.ts';

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

/** Events gather for so long before files are looked at, so that a thousand writes to a file are one look. */
const gatherMs = 50;
/** The kernel drops events past 16,384 that wait, without a word: half as many in one go are reason enough to list. */
const burst = 8192;
const longestUnquietMs = 30_000;
const betweenListingsMs = 10_000;
const entriesARound = 2000;

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
  stop(): Promise<void>;
}

interface State {
  plan: WatchPlan;
  paths: readonly BucketPath[];
  /** Who waits for the present plan to be followed. */
  readonly followers: PromiseWithResolvers<void>[];
  /** A new plan has to be followed. */
  planned: boolean;
  /** Events since files were last looked at. */
  events: number;
  lastEventAt: number;
  /** Since when events may have been lost. */
  lossSince: number | undefined;
  lastListing: number;
  stopped: boolean;
}

interface Parts {
  readonly deps: FolderWatcherDeps;
  readonly settleMs: number;
  readonly handlers: NotificationHandlers;
  readonly state: State;
  readonly tree: FolderTree;
  readonly settling: Settling;
  readonly candidates: Candidates;
  readonly limit: number;
}

function startWatcher(deps: FolderWatcherDeps, root: string, handlers: NotificationHandlers): Watcher {
  const { clock, log, settleMs = 1000, maxCandidates: limit = 50_000 } = deps;
  const state: State = {
    plan: createWatchPlan([]),
    paths: [],
    followers: [],
    planned: false,
    events: 0,
    lastEventAt: 0,
    lossSince: undefined,
    lastListing: Number.NEGATIVE_INFINITY,
    stopped: false,
  };
  const wake = createWake(clock);
  const settling = createSettling({ settleMs, limit });
  const delivered = createDelivered();
  const platform = deps.platform ?? process.platform;
  const onLoss = (): void => {
    state.lossSince ??= clock.monotonic();
    wake.ring();
  };
  const onEvent = (path: string): void => {
    state.events += 1;
    state.lastEventAt = clock.monotonic();
    const quiet = settling.touchedCount === 0;
    if (!settling.touch(path, state.lastEventAt)) onLoss();
    if (quiet) wake.ring();
  };
  const recursive = platform === 'darwin';
  const tree = createFolderTree({ root, watch: deps.watch ?? watchFolder, recursive, log, onEvent, onLoss });
  const openFiles: OpenFiles = platform === 'linux' ? createProcOpenFiles({ clock }) : createNoOpenFiles();
  const isInput = (path: string): boolean => {
    const folder = path.slice(0, path.lastIndexOf('/'));
    return state.plan.kindOf(folder) === 'input' && state.plan.concerns(path);
  };
  const candidates = createCandidates({
    root,
    settleMs,
    settling,
    openFiles,
    tree,
    delivered,
    isInput,
    clock,
    log,
    objects: deps.objects,
  });
  const written = createWrittenObjects({ handlers, clock, log, onDelivered: delivered.add });
  const unsubscribe = listenForWrites(deps, isInput, written, onLoss);
  const running = run({ deps, settleMs, handlers, state, tree, settling, candidates, limit }, wake);
  return {
    follow: async (paths) => {
      state.paths = paths;
      state.plan = createWatchPlan(paths);
      state.planned = true;
      const follower = Promise.withResolvers<void>();
      state.followers.push(follower);
      wake.ring();
      return follower.promise;
    },
    unfinished: candidates.unfinished,
    stop: async () => {
      state.stopped = true;
      unsubscribe();
      wake.ring();
      await Promise.all([running, written.stop()]);
    },
  };
}

const watchFolder: WatchFolder = (path, options, listener) =>
  watch(path, { persistent: false, recursive: options.recursive }, listener);

function listenForWrites(
  deps: FolderWatcherDeps,
  isInput: (path: string) => boolean,
  written: WrittenObjects,
  onLoss: () => void,
): () => void {
  return deps.objects.onWrite(({ info }) => {
    if (isInput(`${info.bucket}/${info.key}`) && !written.add(info)) onLoss();
  });
}

async function run(parts: Parts, wake: ReturnType<typeof createWake>): Promise<void> {
  const { state, tree, settling, candidates, deps } = parts;
  try {
    while (!state.stopped) {
      await wake.wait(waitMs(parts));
      if (settling.touchedCount > 0 && !state.stopped) await deps.clock.sleep(gatherMs);
      if (state.stopped) break;
      await followPlan(parts);
      await tree.read(Math.min(entriesARound, roomFor(parts)));
      settleFollowers(parts);
      if (state.events > burst) state.lossSince ??= deps.clock.monotonic();
      state.events = 0;
      await candidates.lookAtTouched();
      await candidates.handOver(parts.handlers);
      await listAfterLoss(parts);
    }
  } finally {
    await tree.close();
    const ended = new AppError('unavailable', 'The folder watcher was stopped.');
    for (const follower of state.followers.splice(0)) follower.reject(ended);
  }
}

/** Half of the room for candidates is kept for events; a folder with more files is read on as they are handed over. */
function roomFor({ settling, limit }: Parts): number {
  return Math.max(0, limit / 2 - settling.size);
}

function waitMs(parts: Parts): number {
  const { state, settling, tree, candidates, deps } = parts;
  if (state.planned || settling.touchedCount > 0) return 0;
  if (tree.reading && roomFor(parts) > 0) return 0;
  const now = deps.clock.monotonic();
  return Math.max(0, Math.min(candidates.nextDue(), nextListing(parts)) - now);
}

async function followPlan({ state, tree }: Parts): Promise<void> {
  if (!state.planned) return;
  state.planned = false;
  await tree.follow(state.plan, false);
}

/** All folders of the plan are watched once the last has been read for sub-folders. */
function settleFollowers({ state, tree }: Parts): void {
  if (state.planned || tree.reading) return;
  for (const follower of state.followers.splice(0)) follower.resolve();
}

/** When folders have to be listed because events may have been lost: as soon as it is quiet. */
function nextListing({ state, settleMs }: Parts): number {
  if (state.lossSince === undefined) return Number.POSITIVE_INFINITY;
  const quiet = Math.min(state.lastEventAt + settleMs, state.lossSince + longestUnquietMs);
  return Math.max(quiet, state.lastListing + betweenListingsMs);
}

async function listAfterLoss(parts: Parts): Promise<void> {
  const { state, tree, handlers, deps } = parts;
  const now = deps.clock.monotonic();
  if (now < nextListing(parts)) return;
  state.lossSince = undefined;
  state.lastListing = now;
  // New sub-folders first: they are watched and read, then the reconciler lists what is in the others.
  await tree.follow(state.plan, true);
  for (const path of state.paths) handlers.onGap(path);
}
