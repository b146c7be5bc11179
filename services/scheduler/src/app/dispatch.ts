import type { Backlog, Delivery, WorkQueue } from '@sluice/shared/bus';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { createRotation, type Rotation } from '../domain/allocate.ts';
import { isWithin, requirementsOf } from '../domain/requirements.ts';
import type { Executor, Requirements, Reservation } from '../ports.ts';
import type { DefinitionCache } from './definitions.ts';
import { createLimits, type Limits } from './limits.ts';
import type { StartRun } from './start-run.ts';
import { createWakeUp, type WakeUp } from './wake-up.ts';

export interface DispatchDeps {
  readonly queue: WorkQueue;
  readonly ledger: Pick<RunLedger, 'counts'>;
  readonly executor: Executor;
  readonly cache: DefinitionCache;
  readonly startRun: StartRun;
  readonly clock: Clock;
  readonly log: Logger;
  /** Runs at the same time over all services, of all replicas together. */
  readonly slots: number;
  /** A run found no room. */
  readonly onNoRoom?: () => void;
  /** True while room that frees is kept for somebody else. */
  readonly isRoomKept?: () => boolean;
  /** Milliseconds after which waiting work is looked for without a hint. @default 1000 */
  readonly idleMs?: number;
}

/** Takes start messages while there is room, one service after another. */
export interface Dispatcher {
  start(): void;
  /** Takes nothing more; resolves when no start is half done. */
  stop(): Promise<void>;
  /** An attempt of a service ended, here or at another replica: there may be room. */
  ended(service: string): void;
  wake(): void;
}

/** Milliseconds that a service which needs more room than is free lets others go first, before places are kept for it. */
const patienceMs = 2000;
/** Milliseconds before the next look where another replica was faster: it is at work there. */
const missedMs = 10;

interface State {
  last: string | undefined;
  /** Services that found no room for their size, since when (monotonic). */
  readonly waitingSince: Map<string, number>;
  readonly limits: Limits;
  readonly launch: (delivery: Delivery, key: string, reservation: Reservation) => void;
}

export function createDispatcher(deps: DispatchDeps): Dispatcher {
  const { ledger, clock, slots, idleMs: retryMs = 1000 } = deps;
  const starts = new Set<Promise<void>>();
  const stopping = new AbortController();
  const wakeUp = createWakeUp();
  const limits = createLimits({ ledger, clock, slots, retryMs });
  const state: State = {
    last: undefined,
    waitingSince: new Map(),
    limits,
    launch: (delivery, key, reservation) => {
      const start = launch(deps, limits, { delivery, key, reservation });
      starts.add(start);
      void start.finally(() => {
        starts.delete(start);
        wakeUp.wake();
      });
    },
  };
  let loop: Promise<void> = Promise.resolve();
  let unsubscribe: () => void = () => undefined;
  return {
    start: () => {
      unsubscribe = deps.queue.onArrival(wakeUp.wake);
      deps.executor.onRoom(wakeUp.wake);
      loop = runLoop(deps, state, wakeUp, stopping.signal);
    },
    stop: async () => {
      unsubscribe();
      stopping.abort();
      wakeUp.wake();
      await loop;
      await Promise.allSettled(starts);
    },
    ended: (service) => {
      limits.ended(service);
      wakeUp.wake();
    },
    wake: wakeUp.wake,
  };
}

/** Never rejects. */
async function launch(
  deps: DispatchDeps,
  limits: Limits,
  start: { readonly delivery: Delivery; readonly key: string; readonly reservation: Reservation },
): Promise<void> {
  const since = limits.moment();
  const taken = limits.starting(start.key);
  try {
    const end = await deps.startRun(start.delivery, start.reservation, taken);
    if (end === 'refused') limits.block(start.key, since);
  } catch (error) {
    deps.log.error({ err: error }, 'start failed; the message comes again');
  } finally {
    taken();
  }
}

async function runLoop(
  deps: DispatchDeps,
  state: State,
  wakeUp: WakeUp,
  stopping: AbortSignal,
): Promise<void> {
  let failing = false;
  while (!stopping.aborted) {
    wakeUp.clear();
    try {
      const { started, missed } = await dispatchRound(deps, state);
      failing = false;
      if (started > 0 || stopping.aborted) continue;
      if (missed) await deps.clock.sleep(missedMs, stopping).catch(() => undefined);
      else await wakeUp.wait(deps.clock, deps.idleMs ?? 1000);
    } catch (error) {
      // Once: a ledger or a bus may be away for hours.
      if (!failing) deps.log.warn({ err: error }, 'work queue or ledger not readable, trying again');
      failing = true;
      // Not woken by hints: they do not bring a server back.
      await deps.clock.sleep(deps.idleMs ?? 1000, stopping).catch(() => undefined);
    }
  }
}

/** One round: reserve places in turn, fetch as many messages, start them. */
async function dispatchRound(
  deps: DispatchDeps,
  state: State,
): Promise<{ readonly started: number; readonly missed: boolean }> {
  const [free, backlog] = await Promise.all([state.limits.free(), deps.queue.backlog()]);
  if (backlog.length === 0) state.waitingSince.clear();
  if (free === undefined || backlog.length === 0 || deps.isRoomKept?.() === true) {
    return { started: 0, missed: false };
  }
  const grants = await reserve(deps, state, backlog, free);
  let started = 0;
  let missed = false;
  await Promise.all(
    [...grants].map(async ([key, reservations]) => {
      const deliveries = await fetchOrRelease(deps.queue, key, reservations);
      missed ||= deliveries.length < reservations.length;
      for (const delivery of deliveries) {
        const reservation = reservations.shift();
        if (reservation === undefined) {
          await delivery.release();
          continue;
        }
        started += 1;
        state.launch(delivery, key, reservation);
      }
      for (const unused of reservations) unused.release();
    }),
  );
  return { started, missed };
}

async function fetchOrRelease(
  queue: WorkQueue,
  key: string,
  reservations: readonly Reservation[],
): Promise<readonly Delivery[]> {
  try {
    return await queue.fetch(key, reservations.length);
  } catch (error) {
    for (const reservation of reservations) reservation.release();
    throw error;
  }
}

async function reserve(
  deps: DispatchDeps,
  state: State,
  backlog: readonly Backlog[],
  free: number,
): Promise<Map<string, Reservation[]>> {
  const grants = new Map<string, Reservation[]>();
  const open = backlog.filter(({ key }) => !state.limits.isBlocked(key));
  const turns = withLimits(deps, state.limits, createRotation(open, state.last));
  const refused: Requirements[] = [];
  try {
    for (let left = free; left > 0;) {
      const key = await turns.next();
      if (key === undefined) break;
      const wanted = requirementsOf(deps.cache.known(key)?.definition ?? { cpu: '', memory: '' });
      // Room that frees in the middle of a round is for whoever was refused it first, in the next round.
      if (refused.some((one) => isWithin(one, wanted))) {
        turns.skip(key);
        continue;
      }
      const reservation = await deps.executor.reserve(wanted);
      if (reservation === undefined) {
        refused.push(wanted);
        turns.skip(key);
        deps.onNoRoom?.();
        // A big service would starve behind small ones for ever: after a while nobody else is served until it fits.
        if (hasWaitedLong(deps, state, key)) break;
        continue;
      }
      left -= 1;
      state.waitingSince.delete(key);
      state.last = key;
      const list = grants.get(key);
      if (list === undefined) grants.set(key, [reservation]);
      else list.push(reservation);
    }
  } catch (error) {
    for (const reservation of [...grants.values()].flat()) reservation.release();
    throw error;
  }
  return grants;
}

/** The rotation, each service held to its own limit; that is read only of services whose turn comes. */
function withLimits(
  deps: DispatchDeps,
  limits: Limits,
  rotation: Rotation,
): { next(): Promise<string | undefined>; skip(key: string): void } {
  const left = new Map<string, number>();
  return {
    next: async () => {
      for (let key = rotation.next(); key !== undefined; key = rotation.next()) {
        const allowed = left.get(key) ?? (await limits.allowance(key, deps.cache.known(key)));
        left.set(key, allowed - 1);
        if (allowed > 0) return key;
        rotation.skip(key);
      }
      return undefined;
    },
    skip: rotation.skip,
  };
}

function hasWaitedLong(deps: DispatchDeps, state: State, key: string): boolean {
  const now = deps.clock.monotonic();
  const since = state.waitingSince.get(key);
  if (since === undefined) {
    state.waitingSince.set(key, now);
    return false;
  }
  return now - since > patienceMs;
}
