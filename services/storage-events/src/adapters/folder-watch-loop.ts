import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath } from '@sluice/shared/stores';
import type { NotificationHandlers } from '../ports.ts';
import type { Wake } from '../wake.ts';
import type { Candidates } from './folder-candidates.ts';
import type { FolderTree } from './folder-tree.ts';
import type { Settling } from './settling.ts';
import { createWatchPlan, type WatchPlan } from './watch-plan.ts';

/** What the watcher has to do, as it stands. Times are monotonic milliseconds. */
export interface WatchState {
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

export interface WatchLoop {
  readonly state: WatchState;
  readonly tree: FolderTree;
  readonly settling: Settling;
  readonly candidates: Candidates;
  readonly handlers: NotificationHandlers;
  readonly clock: Clock;
  readonly wake: Wake;
  readonly settleMs: number;
  /** Candidates, at most. */
  readonly limit: number;
}

/** Events gather for so long before files are looked at, so that a thousand writes to a file are one look. */
const gatherMs = 50;
/** The kernel drops events past 16,384 that wait, without a word: half as many in one go are reason enough to list. */
const burst = 8192;
const longestUnquietMs = 30_000;
const betweenListingsMs = 10_000;
const entriesARound = 2000;

export function newWatchState(): WatchState {
  return {
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
}

/** Follows plans, reads folders, looks at what events named and hands over what has settled, one after the other, until stopped. */
export async function runWatchLoop(loop: WatchLoop): Promise<void> {
  const { state, tree, settling, candidates, clock, wake } = loop;
  try {
    while (!state.stopped) {
      await wake.wait(waitMs(loop));
      if (settling.touchedCount > 0 && !state.stopped) await clock.sleep(gatherMs);
      if (state.stopped) break;
      await followPlan(loop);
      await tree.read(Math.min(entriesARound, roomFor(loop)));
      settleFollowers(loop);
      if (state.events > burst) state.lossSince ??= clock.monotonic();
      state.events = 0;
      await candidates.lookAtTouched();
      await candidates.handOver(loop.handlers);
      await listAfterLoss(loop);
    }
  } finally {
    await tree.close();
    const ended = new AppError('unavailable', 'The folder watcher was stopped.');
    for (const follower of state.followers.splice(0)) follower.reject(ended);
  }
}

/** Half of the room for candidates is kept for events; a folder with more files is read on as they are handed over. */
function roomFor({ settling, limit }: WatchLoop): number {
  return Math.max(0, limit / 2 - settling.size);
}

function waitMs(loop: WatchLoop): number {
  const { state, settling, tree, candidates, clock } = loop;
  if (state.planned || settling.touchedCount > 0) return 0;
  if (tree.reading && roomFor(loop) > 0) return 0;
  return Math.max(0, Math.min(candidates.nextDue(), nextListing(loop)) - clock.monotonic());
}

async function followPlan({ state, tree }: WatchLoop): Promise<void> {
  if (!state.planned) return;
  state.planned = false;
  await tree.follow(state.plan, false);
}

/** All folders of the plan are watched once the last has been read for sub-folders. */
function settleFollowers({ state, tree }: WatchLoop): void {
  if (state.planned || tree.reading) return;
  for (const follower of state.followers.splice(0)) follower.resolve();
}

/** When folders have to be listed because events may have been lost: as soon as it is quiet. */
function nextListing({ state, settleMs }: WatchLoop): number {
  if (state.lossSince === undefined) return Number.POSITIVE_INFINITY;
  const quiet = Math.min(state.lastEventAt + settleMs, state.lossSince + longestUnquietMs);
  return Math.max(quiet, state.lastListing + betweenListingsMs);
}

async function listAfterLoss(loop: WatchLoop): Promise<void> {
  const { state, tree, handlers, clock } = loop;
  const now = clock.monotonic();
  if (now < nextListing(loop)) return;
  state.lossSince = undefined;
  state.lastListing = now;
  // New sub-folders first: they are watched and read, then the reconciler lists what is in the others.
  await tree.follow(state.plan, true);
  for (const path of state.paths) handlers.onGap(path);
}
