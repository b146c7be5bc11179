import { isAppError } from '@sluice/shared/errors';
import { requirementsOf } from '../../domain/requirements.ts';
import { runnerLimit } from '../../domain/runners.ts';
import type { FoundRunner, Reservation } from '../../ports.ts';
import { currentNeed, setRunnerState, type PoolState } from './pool-state.ts';
import { endRunner, newRunner, reconcile } from './reconcile.ts';
import { isNewest, isOff, liveRunners, type Runner, type ServiceRunners } from './service-runners.ts';

/** Milliseconds in which adopted runners have to answer before anything is said or started: one that works answers at once. */
const settleMs = 3000;
/** Of a runner that found no room here, where it runs already. */
const noRoom: Reservation = { release: () => undefined };

/**
 * Begins to act for runners. Those that are there go on taking calls.
 * @throws AppError when the host cannot say which these are
 */
export async function takeOver(pool: PoolState): Promise<void> {
  const { host, clock, log } = pool;
  const found = await host.runners();
  if (host.shared) {
    const timer = new AbortController();
    const settled = Promise.all(adopt(pool, found));
    await Promise.race([settled, clock.sleep(settleMs, timer.signal).catch(() => undefined)]);
    timer.abort();
    if (found.length > 0) log.info({ runners: found.length }, 'took over the runners that are there');
  } else {
    // Whoever called them is gone with the process before this one.
    await Promise.allSettled(found.map((one) => host.stop(one.runner_id, 0)));
  }
  pool.running = true;
  for (const service of pool.services.values()) {
    const need = currentNeed(pool, service);
    // They are kept for a while like any that were needed a moment ago, but not more of them than may be.
    const newest = liveRunners(service).filter((one) => isNewest(service, one));
    service.target = { count: Math.min(newest.length, runnerLimit(need)) };
    reconcile(pool, service);
  }
}

/** Takes in what another replica started before it noticed that it does not act any more. */
export async function adoptNew(pool: PoolState): Promise<void> {
  // None of them rejects, and nothing waits for them.
  if (pool.host.shared) void adopt(pool, await pool.host.runners());
}

/** Acts no more. Runners that another replica can take over are not told. */
export async function resign(pool: PoolState): Promise<void> {
  pool.running = false;
  for (const service of pool.services.values()) {
    // Starts under way see it, too.
    for (const runner of service.runners.values()) runner.state = 'ended';
    service.runners.clear();
    service.target = { count: 0 };
    service.failure = undefined;
    service.waitsSince = undefined;
    service.callWaitsSince = undefined;
    service.said = '';
    if (service.gone) pool.services.delete(service.stored.uid);
  }
  pool.waiting.clear();
  pool.calling.clear();
  await pool.host.leave(pool.config.drainMs);
}

/** @returns resolved when they take calls, or are known to take none */
function adopt(pool: PoolState, found: readonly FoundRunner[]): readonly Promise<void>[] {
  return found.flatMap((one) => {
    const service = pool.services.get(one.service_uid);
    if (service === undefined || isOff(service)) {
      if (service?.runners.has(one.runner_id) !== true) stopFound(pool, one.runner_id);
      return [];
    }
    if (service.runners.has(one.runner_id)) return [];
    const runner = newRunner(pool, service, one.runner_id, one.service_version);
    service.runners.set(runner.id, runner);
    return [adoptOne(pool, service, runner)];
  });
}

function stopFound({ host, config, log }: PoolState, runnerId: string): void {
  host.stop(runnerId, config.drainMs).catch((error: unknown) => {
    log.warn({ err: error, runner: runnerId }, 'runner of a service that has none did not end well');
  });
}

/** Never rejects. */
async function adoptOne(pool: PoolState, service: ServiceRunners, runner: Runner): Promise<void> {
  let reservation = noRoom;
  try {
    reservation = (await pool.executor.reserve(requirementsOf(service.stored.definition))) ?? noRoom;
    runner.placed = true;
    if (runner.state !== 'starting') {
      reservation.release();
      return;
    }
    const { url } = await pool.host.adopt(runner.id, reservation);
    if (runner.state !== 'starting') return;
    runner.url = url;
    setRunnerState(pool, runner, 'ready');
  } catch (error) {
    reservation.release();
    if (runner.state !== 'starting') return;
    if (isAppError(error, 'conflict')) {
      setRunnerState(pool, runner, 'draining');
      endRunner(pool, service, runner);
      return;
    }
    pool.log.warn({ err: error, runner: runner.id }, 'runner could not be taken over');
    // If it is still there it is found again.
    service.runners.delete(runner.id);
  }
  reconcile(pool, service);
}
