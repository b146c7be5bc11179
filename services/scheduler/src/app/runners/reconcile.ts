import type { RunnerPlan } from '@sluice/shared/contracts';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { StoredDefinition } from '@sluice/shared/stores';
import { desiredRunners, heldTarget, nextTarget, startPause } from '../../domain/runners.ts';
import { requirementsOf } from '../../domain/requirements.ts';
import type { Reservation } from '../../ports.ts';
import { keptFor, makeRoomFor, type Victim } from './room.ts';
import {
  currentNeed,
  isPressed,
  maxStarting,
  neededByCalls,
  placesInUse,
  say,
  setRunnerState,
  type PoolState,
} from './pool-state.ts';
import {
  isNewest,
  isOff,
  liveRunners,
  readyNewest,
  type Runner,
  type ServiceRunners,
} from './service-runners.ts';

/** A runner that worked this long has started well: failures before it are forgotten, its end is not one of the start. */
const provenMs = 10_000;
/** A call may run for 30 days, a timer for 24 only. */
const maxDrainMs = 20 * 86_400_000;

/**
 * Brings the runners of a service to what is wanted now, as far as that goes at once. Called for every event that concerns it and
 * once a second; does nothing twice.
 */
export function reconcile(pool: PoolState, service: ServiceRunners): void {
  if (!pool.running) return;
  const now = pool.clock.monotonic();
  const idleMs = isOff(service) ? 0 : pool.config.idleMs;
  const need = currentNeed(pool, service);
  const live = liveRunners(service).length;
  const isHeld = isPressed(pool);
  const desired = desiredRunners(isHeld ? { ...need, minScale: Math.min(need.minScale, live) } : need);
  const target = nextTarget(service.target, desired, now, idleMs);
  service.target = isHeld ? heldTarget(target, desired, live) : target;
  forgetFailure(pool, service);
  startMissing(pool, service);
  const unwanted = unwantedRunners(service);
  for (const runner of unwanted) setRunnerState(pool, runner, 'draining');
  // Said before they are told: callers look for another one instead of being refused.
  say(pool, service);
  for (const runner of unwanted) endRunner(pool, service, runner);
}

/** Services that wait for room get their turn: those with calls and no runner at all before others, then those that wait longest. */
export function reconcileWaiting(pool: PoolState): void {
  const isFirst = (service: ServiceRunners): boolean => service.callWaitsSince !== undefined;
  const waiting = [...pool.waiting].sort((a, b) => Number(isFirst(b)) - Number(isFirst(a)));
  for (const service of waiting) reconcile(pool, service);
}

function noteFailure(pool: PoolState, service: ServiceRunners, reason: string): void {
  const count = (service.failure?.count ?? 0) + 1;
  service.failure = { count, until: pool.clock.monotonic() + startPause(count), reason };
}

/** @param fault undefined where it ended as it should */
export function runnerExited(
  pool: PoolState,
  service: ServiceRunners,
  runner: Runner,
  fault: string | undefined,
): void {
  if (runner.state === 'ended') return;
  const early = runner.state === 'ready' && pool.clock.monotonic() - runner.since < provenMs;
  setRunnerState(pool, runner, 'ended');
  if (early && fault !== undefined) noteFailure(pool, service, fault);
  reconcileWaiting(pool);
  reconcile(pool, service);
}

function forgetFailure(pool: PoolState, service: ServiceRunners): void {
  if (service.failure === undefined) return;
  const proven = pool.clock.monotonic() - provenMs;
  if (readyNewest(service).some((one) => one.since <= proven)) service.failure = undefined;
}

function startMissing(pool: PoolState, service: ServiceRunners): void {
  const live = liveRunners(service).filter((one) => isNewest(service, one));
  let missing = service.target.count - live.length;
  const pausing = service.failure !== undefined && pool.clock.monotonic() < service.failure.until;
  if (missing <= 0 || pausing) {
    // A start that may still be refused room ends no waiting: its turn would be lost.
    if (pausing || live.every((one) => one.placed)) stopWaiting(pool, service);
    return;
  }
  // One is enough to see whether it works now.
  if (service.failure !== undefined) missing = live.some((one) => one.state === 'starting') ? 0 : 1;
  for (; missing > 0 && pool.starting < maxStarting; missing -= 1) {
    const first = keptFor(pool);
    const isKept = first !== undefined && first !== service;
    if (isKept || placesInUse(pool) >= pool.host.limit) {
      waitForRoom(pool, service);
      return;
    }
    void startRunner(pool, service);
  }
  // All starts of the pool are in use: it is its turn when one has ended.
  if (missing > 0) pool.waiting.add(service);
}

function waitForRoom(pool: PoolState, service: ServiceRunners): void {
  service.waitsSince ??= pool.clock.monotonic();
  pool.waiting.add(service);
  const calls = neededByCalls(pool, service);
  const live = liveRunners(service).length;
  service.callWaitsSince =
    calls > 0 && live === 0 ? (service.callWaitsSince ?? pool.clock.monotonic()) : undefined;
  if (calls > live) pool.calling.add(service);
  else pool.calling.delete(service);
  const victim = makeRoomFor(pool, service);
  if (victim !== undefined) endForRoom(pool, victim);
}

/** Ends a runner for work that waits; it comes back when it is needed, or when nothing waits. */
export function endForRoom(pool: PoolState, { service, runner }: Victim): void {
  const { target } = service;
  if (isNewest(service, runner)) service.target = { ...target, count: Math.max(0, target.count - 1) };
  setRunnerState(pool, runner, 'draining');
  say(pool, service);
  endRunner(pool, service, runner);
}

function stopWaiting(pool: PoolState, service: ServiceRunners): void {
  service.waitsSince = undefined;
  service.callWaitsSince = undefined;
  pool.waiting.delete(service);
  pool.calling.delete(service);
}

/** One that starts, here or at another process. */
export function newRunner(pool: PoolState, { stored }: ServiceRunners, id: string, version: number): Runner {
  const seconds = stored.definition.sluice?.timeout;
  return {
    id,
    version,
    callMs: seconds === undefined ? pool.config.defaultTimeoutMs : seconds * 1000,
    placed: false,
    state: 'starting',
    url: undefined,
    since: pool.clock.monotonic(),
  };
}

/** Never rejects. The reservation is asked for in the same turn of the event loop, so that room goes to whoever was told of it first. */
async function startRunner(pool: PoolState, service: ServiceRunners): Promise<void> {
  const { stored } = service;
  const name = stored.name.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 60);
  const runner = newRunner(pool, service, `${name}-${pool.randomId()}`, stored.version);
  service.runners.set(runner.id, runner);
  pool.starting += 1;
  let full = false;
  try {
    const reservation = await pool.executor.reserve(requirementsOf(stored.definition));
    full = reservation === undefined;
    runner.placed = !full;
    if (reservation !== undefined) await startIn(pool, runner, stored, reservation);
  } catch (error) {
    if (!isAppError(error)) pool.log.error({ err: error, runner: runner.id }, 'start of a runner broke');
    if (runner.state === 'starting' && isNewest(service, runner))
      noteFailure(pool, service, messageOf(error));
  }
  pool.starting -= 1;
  // Nothing was started, or it ended with its failure: there is no log to read.
  if (runner.state === 'starting') service.runners.delete(runner.id);
  if (!pool.running) return;
  if (full) waitForRoom(pool, service);
  else reconcile(pool, service);
  if (full) say(pool, service);
  else reconcileWaiting(pool);
}

/** @throws AppError when the host cannot start it */
async function startIn(
  pool: PoolState,
  runner: Runner,
  stored: StoredDefinition,
  reservation: Reservation,
): Promise<void> {
  try {
    const secrets = await pool.definitions.secrets(stored.uid, stored.version);
    if (runner.state !== 'starting') throw new AppError('cancelled', 'The runner is not wanted any more.');
    const plan: RunnerPlan = {
      runner_id: runner.id,
      service_uid: stored.uid,
      service_version: stored.version,
      definition: stored.definition,
      script: stored.definition.script ?? '',
      secrets: secrets ?? { token: '', environment: {} },
    };
    const { url } = await pool.host.start(plan, reservation);
    if (runner.state !== 'starting') return;
    runner.url = url;
    setRunnerState(pool, runner, 'ready');
  } catch (error) {
    reservation.release();
    throw error;
  }
}

/** Runners of an older version are wanted until the newest ones are there. */
function unwantedRunners(service: ServiceRunners): readonly Runner[] {
  const live = liveRunners(service);
  if (isOff(service)) return live;
  const ready = readyNewest(service);
  const older = live.filter((one) => !isNewest(service, one));
  const target = service.target.count;
  const replaced = ready.length >= target;
  return [
    ...older.filter((one) => replaced || one.state === 'starting'),
    ...ready.slice(0, Math.max(0, ready.length - target)),
  ];
}

/** Never rejects. */
export function endRunner(pool: PoolState, service: ServiceRunners, runner: Runner): void {
  const end = async (): Promise<void> => {
    try {
      await pool.host.stop(runner.id, drainMs(pool, service, runner));
    } catch (error) {
      pool.log.warn({ err: error, runner: runner.id }, 'runner did not end well');
    }
    if (runner.state !== 'ended') setRunnerState(pool, runner, 'ended');
    // Those that wait come first: the place may have been made for them.
    reconcileWaiting(pool);
    reconcile(pool, service);
  };
  void end();
}

/** The call in hand gets all its time, unless the service itself ends. */
function drainMs(pool: PoolState, service: ServiceRunners, runner: Runner): number {
  return isOff(service) ? pool.config.drainMs : Math.min(runner.callMs, maxDrainMs);
}
