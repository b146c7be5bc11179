import type { Backlog, Delivery, WorkQueue } from '@sluice/shared/bus';
import type { Run } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { createRotation, type Candidate } from '../domain/allocate.ts';
import { requirementsOf } from '../domain/requirements.ts';
import type { Executor, Reservation } from '../ports.ts';
import type { DefinitionCache } from './definitions.ts';
import type { StartRun } from './start-run.ts';

export interface DispatchDeps {
  readonly queue: WorkQueue;
  readonly executor: Executor;
  readonly cache: DefinitionCache;
  readonly startRun: StartRun;
  readonly clock: Clock;
  readonly log: Logger;
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
  /** An attempt of a service ended: its place is free. */
  finished(run: Pick<Run, 'service'>): void;
  /** Occupies places of attempts that were there before this dispatcher. */
  adopt(run: Pick<Run, 'service'>): void;
  wake(): void;
  active(): number;
}

/** Milliseconds that a service which needs more room than is free lets others go first, before places are kept for it. */
const patienceMs = 2000;

export function createDispatcher(deps: DispatchDeps): Dispatcher {
  const state: State = { activeByService: new Map(), active: 0, last: undefined, waitingSince: new Map() };
  const starting = new Set<Promise<void>>();
  const stopping = new AbortController();
  const wakeUp = createWakeUp();
  let loop: Promise<void> = Promise.resolve();
  let unsubscribe: () => void = () => undefined;

  const launch = (delivery: Delivery, key: string, reservation: Reservation): void => {
    occupy(state, key);
    const work = deps.startRun(delivery, reservation).then(
      (run) => {
        if (run === undefined) vacate(state, key);
      },
      (error: unknown) => {
        vacate(state, key);
        deps.log.error({ err: error }, 'start failed; the message comes again');
      },
    );
    starting.add(work);
    void work.finally(() => {
      starting.delete(work);
      wakeUp.wake();
    });
  };

  return {
    start: () => {
      unsubscribe = deps.queue.onArrival(wakeUp.wake);
      deps.executor.onRoom(wakeUp.wake);
      loop = runLoop(deps, state, launch, wakeUp, stopping.signal);
    },
    stop: async () => {
      unsubscribe();
      stopping.abort();
      wakeUp.wake();
      await loop;
      await Promise.allSettled(starting);
    },
    finished: (run) => {
      vacate(state, run.service);
      wakeUp.wake();
    },
    adopt: (run) => {
      occupy(state, run.service);
    },
    wake: wakeUp.wake,
    active: () => state.active,
  };
}

interface State {
  readonly activeByService: Map<string, number>;
  active: number;
  last: string | undefined;
  /** Services that found no room for their size, since when (monotonic). */
  readonly waitingSince: Map<string, number>;
}

function occupy(state: State, service: string): void {
  state.active += 1;
  state.activeByService.set(service, (state.activeByService.get(service) ?? 0) + 1);
}

function vacate(state: State, service: string): void {
  const left = (state.activeByService.get(service) ?? 0) - 1;
  if (left < 0) return;
  state.active -= 1;
  if (left === 0) state.activeByService.delete(service);
  else state.activeByService.set(service, left);
}

async function runLoop(
  deps: DispatchDeps,
  state: State,
  launch: (delivery: Delivery, key: string, reservation: Reservation) => void,
  wakeUp: WakeUp,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    wakeUp.clear();
    let started = 0;
    try {
      started = await dispatchRound(deps, state, launch);
    } catch (error) {
      deps.log.warn({ err: error }, 'work queue not readable, trying again');
    }
    if (started === 0 && !stopping.aborted) await wakeUp.wait(deps.clock, deps.idleMs ?? 1000);
  }
}

/** One round: reserve places in turn, fetch as many messages, start them. Returns how many were started. */
async function dispatchRound(
  deps: DispatchDeps,
  state: State,
  launch: (delivery: Delivery, key: string, reservation: Reservation) => void,
): Promise<number> {
  if (state.active >= deps.slots) return 0;
  const backlog = await deps.queue.backlog();
  if (backlog.length === 0) {
    state.waitingSince.clear();
    return 0;
  }
  const grants = await reserve(deps, state, backlog);
  let started = 0;
  await Promise.all(
    [...grants].map(async ([key, reservations]) => {
      const deliveries = await fetchOrRelease(deps.queue, key, reservations);
      for (const delivery of deliveries) {
        const reservation = reservations.shift();
        if (reservation === undefined) {
          await delivery.release();
          continue;
        }
        started += 1;
        launch(delivery, key, reservation);
      }
      for (const unused of reservations) unused.release();
    }),
  );
  return started;
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
): Promise<Map<string, Reservation[]>> {
  const grants = new Map<string, Reservation[]>();
  if (deps.isRoomKept?.() === true) return grants;
  const rotation = createRotation(
    backlog.map((one) => candidateOf(deps, state, one)),
    state.last,
  );
  for (let free = deps.slots - state.active; free > 0; free -= 1) {
    const key = rotation.next();
    if (key === undefined) break;
    const stored = deps.cache.known(key);
    const wanted = requirementsOf(stored?.definition ?? { cpu: '', memory: '' });
    const reservation = await deps.executor.reserve(wanted);
    if (reservation === undefined) {
      rotation.skip(key);
      deps.onNoRoom?.();
      // A big service would starve behind small ones for ever: after a while nobody else is served until it fits.
      if (hasWaitedLong(deps, state, key)) break;
      continue;
    }
    state.waitingSince.delete(key);
    state.last = key;
    const list = grants.get(key);
    if (list === undefined) grants.set(key, [reservation]);
    else list.push(reservation);
  }
  return grants;
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

function candidateOf(deps: DispatchDeps, state: State, backlog: Backlog): Candidate {
  const limit = deps.cache.known(backlog.key)?.definition.sluice?.max_concurrency ?? 0;
  const active = state.activeByService.get(backlog.key) ?? 0;
  return {
    key: backlog.key,
    waiting: backlog.waiting,
    allowance: limit === 0 ? Infinity : Math.max(0, limit - active),
  };
}

interface WakeUp {
  wake: () => void;
  clear(): void;
  wait(clock: Clock, ms: number): Promise<void>;
}

/** Remembers a wake-up that came while nobody waited, so that none is lost. */
function createWakeUp(): WakeUp {
  let woken = false;
  let resolve: (() => void) | undefined;
  return {
    wake: () => {
      woken = true;
      resolve?.();
    },
    clear: () => {
      woken = false;
    },
    wait: async (clock, ms) => {
      if (woken) return;
      const { promise, resolve: done } = Promise.withResolvers<void>();
      resolve = done;
      const timer = new AbortController();
      const timeout = clock.sleep(ms, timer.signal).catch(() => undefined);
      await Promise.race([promise, timeout]);
      timer.abort();
      resolve = undefined;
    },
  };
}
