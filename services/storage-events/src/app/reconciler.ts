import { messageOf } from '@sluice/shared/errors';
import type { BucketPath, Leases } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { Moment } from '../domain/floors.ts';
import { inputPaths } from '../domain/match.ts';
import { createWake } from '../wake.ts';
import { pathKey } from './definitions.ts';
import type { StorageEventsMetrics } from './metrics.ts';
import { createPathLeases, type PathLeases } from './path-leases.ts';
import { beginPathPass, type PathPass, type ReconcileDeps } from './reconcile-path.ts';

/** A full pass over every input path. */
export interface PassReport {
  readonly paths: number;
  /** Runs claimed. */
  readonly found: number;
  /** Paths that could not be listed, or not to the end. */
  readonly failed: number;
}

/** Lists input paths and claims what no notification told of: at start, on request and again and again. */
export interface Reconciler {
  start(): void;
  stop(): Promise<void>;
  /**
   * Lists these paths before anything else that waits.
   * @param regardless also those that another replica lists: it need not know of what was missed
   */
  request(paths: readonly BucketPath[], regardless?: boolean): void;
  /** A full pass that begins after this call; failures of the past do not hold it up. Rejects when stopped meanwhile. */
  fullPass(): Promise<PassReport>;
  /** Paths whose last listing failed, with the reason. */
  failing(): ReadonlyMap<string, string>;
}

export interface ReconcilerDeps extends ReconcileDeps {
  readonly log: Logger;
  readonly metrics: StorageEventsMetrics;
  /** One replica at a time lists a path. */
  readonly leases: Leases;
  /** Milliseconds from the end of a full pass to the next. */
  readonly intervalMs: number;
}

interface Task {
  readonly path: BucketPath;
  /** Listed even if another replica does. */
  readonly regardless: boolean;
  pass: PathPass | undefined;
}

interface Round {
  readonly tasks: Task[];
  readonly waiters: { resolve(report: PassReport): void; reject(error: Error): void }[];
  readonly paths: number;
  found: number;
  readonly failed: Set<string>;
  workMs: number;
}

interface Failure {
  readonly count: number;
  readonly reason: string;
  /** Monotonic; not tried before. */
  readonly retryAt: number;
}

/** Share of its time that reconciling may take: the interval is at least so many times the work of a pass. */
const restFactor = 20;
/** A path is another replica's after so many intervals without a pass, and some time. */
const leaseIntervals = 1.5;
const leaseSlackMs = 15_000;
const firstBackoffMs = 1000;
const longestBackoffMs = 300_000;

export function createReconciler(deps: ReconcilerDeps): Reconciler {
  const state: State = {
    urgent: new Map(),
    continued: [],
    failures: new Map(),
    moments: new Map(),
    waiters: [],
    leases: createPathLeases(deps),
    round: undefined,
    restMs: deps.intervalMs,
    nextRoundAt: 0,
    stopped: false,
  };
  const wake = createWake(deps.clock);
  let running: Promise<void> | undefined;
  return {
    start: () => {
      running ??= run(deps, state, wake);
    },
    stop: async () => {
      state.stopped = true;
      wake.ring();
      await running;
      await state.leases.releaseOthers(new Set());
      const ended = new Error('the reconciler was stopped');
      for (const waiter of [...state.waiters.splice(0), ...(state.round?.waiters ?? [])])
        waiter.reject(ended);
    },
    request: (paths, regardless = false) => {
      for (const path of paths) {
        const key = pathKey(path);
        state.urgent.set(key, { path, regardless: regardless || state.urgent.get(key)?.regardless === true });
      }
      wake.ring();
    },
    fullPass: () => {
      const { promise, resolve, reject } = Promise.withResolvers<PassReport>();
      state.waiters.push({ resolve, reject });
      if (state.stopped) reject(new Error('the reconciler was stopped'));
      wake.ring();
      return promise;
    },
    failing: () => new Map([...state.failures].map(([key, failure]) => [key, failure.reason])),
  };
}

interface State {
  readonly urgent: Map<string, Omit<Task, 'pass'>>;
  /** Requested passes that need further steps. */
  readonly continued: Task[];
  readonly failures: Map<string, Failure>;
  /** When the last complete pass over each path began. */
  readonly moments: Map<string, Moment>;
  readonly waiters: Round['waiters'];
  readonly leases: PathLeases;
  round: Round | undefined;
  /** From the end of a full pass to the next. */
  restMs: number;
  nextRoundAt: number;
  stopped: boolean;
}

async function run(deps: ReconcilerDeps, state: State, wake: ReturnType<typeof createWake>): Promise<void> {
  while (!state.stopped) {
    const now = deps.clock.monotonic();
    if (state.round === undefined && (now >= state.nextRoundAt || state.waiters.length > 0))
      await beginRound(deps, state);
    const task = nextTask(state, now);
    if (task !== undefined) {
      await work(deps, state, task);
      continue;
    }
    if (state.round !== undefined) {
      endRound(deps, state, state.round);
      continue;
    }
    await wake.wait(Math.min(state.nextRoundAt, nextRetry(state)) - now);
  }
}

async function beginRound(deps: ReconcilerDeps, state: State): Promise<void> {
  const waiters = state.waiters.splice(0);
  const now = deps.clock.monotonic();
  const all = inputPaths(deps.cache.index());
  const keys = new Set(all.map(pathKey));
  forgetOthers(state, keys);
  await state.leases.releaseOthers(keys);
  const isDue = (path: BucketPath): boolean => (state.failures.get(pathKey(path))?.retryAt ?? 0) <= now;
  const paths = waiters.length > 0 ? all : all.filter(isDue);
  state.round = {
    tasks: paths.map((path) => ({ path, regardless: waiters.length > 0, pass: undefined })),
    waiters,
    paths: all.length,
    found: 0,
    failed: new Set(all.filter((path) => !paths.includes(path)).map(pathKey)),
    workMs: 0,
  };
}

function forgetOthers(state: State, keys: ReadonlySet<string>): void {
  for (const map of [state.failures, state.moments]) {
    for (const key of map.keys()) if (!keys.has(key)) map.delete(key);
  }
}

/** What was asked for first, then what was begun, one step of each path after the other, then failures that are due. */
function nextTask(state: State, now: number): Task | undefined {
  for (const [key, wanted] of state.urgent) {
    state.urgent.delete(key);
    return { ...wanted, pass: undefined };
  }
  const task = state.continued.shift() ?? state.round?.tasks.shift();
  if (task !== undefined || state.round !== undefined) return task;
  for (const [key, failure] of state.failures) {
    if (failure.retryAt <= now) return { path: pathOf(key), regardless: false, pass: undefined };
  }
  return undefined;
}

/** No bucket name has a slash. */
function pathOf(key: string): BucketPath {
  const slash = key.indexOf('/');
  return { bucket: key.slice(0, slash), prefix: key.slice(slash + 1) };
}

function nextRetry(state: State): number {
  let next = Number.POSITIVE_INFINITY;
  for (const { retryAt } of state.failures.values()) next = Math.min(next, retryAt);
  return next;
}

async function work(deps: ReconcilerDeps, state: State, task: Task): Promise<void> {
  const { round } = state;
  const key = pathKey(task.path);
  const from = deps.clock.monotonic();
  const foundBefore = task.pass?.found() ?? 0;
  try {
    const holds = await state.leases.hold(key, leaseIntervals * state.restMs + leaseSlackMs);
    // The time since another replica's passes says nothing of this one's, so that no floor rises by it.
    if (!holds) state.moments.delete(key);
    if (!holds && task.pass === undefined && !task.regardless) {
      state.failures.delete(key);
      return;
    }
    task.pass ??= await beginPathPass(deps, task.path, state.moments.get(key));
    const done = await task.pass.step();
    if (done) {
      if (holds) state.moments.set(key, task.pass.began);
      if (state.failures.delete(key)) deps.log.info({ path: key }, 'input path can be listed again');
    } else {
      // Behind the others: a long listing must not keep short ones waiting.
      (round?.tasks ?? state.continued).push(task);
    }
  } catch (error) {
    round?.failed.add(key);
    noteFailure(deps, state, key, error);
    // Perhaps another replica can.
    await state.leases.release(key);
  }
  const found = (task.pass?.found() ?? 0) - foundBefore;
  if (found > 0) deps.log.info({ path: key, found }, 'listing found objects that had no run');
  if (round === undefined) return;
  round.found += found;
  round.workMs += deps.clock.monotonic() - from;
}

function noteFailure(deps: ReconcilerDeps, state: State, key: string, error: unknown): void {
  const count = (state.failures.get(key)?.count ?? 0) + 1;
  const backoff = Math.min(longestBackoffMs, firstBackoffMs * 2 ** (count - 1));
  state.failures.set(key, { count, reason: messageOf(error), retryAt: deps.clock.monotonic() + backoff });
  deps.log.warn(
    { err: error, path: key, failures: count, retry_ms: backoff },
    'input path could not be listed, it is tried again',
  );
}

function endRound(deps: ReconcilerDeps, state: State, round: Round): void {
  state.round = undefined;
  state.restMs = Math.max(deps.intervalMs, restFactor * round.workMs);
  state.nextRoundAt = deps.clock.monotonic() + state.restMs;
  deps.metrics.pass(round.workMs / 1000, round.failed.size);
  const report: PassReport = { paths: round.paths, found: round.found, failed: round.failed.size };
  for (const waiter of round.waiters) waiter.resolve(report);
}
