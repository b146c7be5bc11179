import { chooseIdle, graceMs, isRoomKept } from '../../domain/room.ts';
import { neededByCalls, type PoolState } from './pool-state.ts';
import { isNewest, liveRunners, type Runner, type ServiceRunners } from './service-runners.ts';

export interface Victim {
  readonly service: ServiceRunners;
  readonly runner: Runner;
}

/**
 * A runner to end for a service that finds no room: one of its own older version; else, for a call, an idle one; else, where the service
 * has none at all, one of the service that has the most, which still ends its call. Undefined while another is on its way out.
 */
export function makeRoomFor(pool: PoolState, service: ServiceRunners): Victim | undefined {
  if (isOneEnding(pool)) return undefined;
  const older = readyRunners(service).find((one) => !isNewest(service, one));
  if (older !== undefined) return { service, runner: older };
  if (!pool.calling.has(service) || (keptFor(pool) ?? service) !== service) return undefined;
  const hasNone = liveRunners(service).length === 0;
  const idle = chooseVictim(pool, hasNone ? 0 : graceMs);
  if (idle !== undefined) return idle;
  return hasNone && service.callWaitsSince !== undefined ? richest(pool) : undefined;
}

/** An idle runner, for runs that wait. */
export function idleRunner(pool: PoolState): Victim | undefined {
  return isOneEnding(pool) ? undefined : chooseVictim(pool, graceMs);
}

/** The service with a call that has waited long for its first runner, and for which room is kept now. */
export function keptFor(pool: PoolState): ServiceRunners | undefined {
  let first: ServiceRunners | undefined;
  for (const service of pool.calling) {
    const since = service.callWaitsSince;
    if (since === undefined || !isRoomKept(pool.clock.monotonic() - since)) continue;
    if (since < (first?.callWaitsSince ?? Infinity)) first = service;
  }
  return first;
}

/** Room is about to be free. A call in hand may last, so one that waits for its call's end does not count. */
function isOneEnding(pool: PoolState): boolean {
  for (const { runners } of pool.services.values()) {
    for (const { id, state } of runners.values()) {
      if (state === 'draining' && !pool.host.isBusy(id)) return true;
    }
  }
  return false;
}

function readyRunners(service: ServiceRunners): readonly Runner[] {
  return [...service.runners.values()].filter((one) => one.state === 'ready');
}

function chooseVictim(pool: PoolState, spareMs: number): Victim | undefined {
  const now = pool.clock.monotonic();
  const idle = [...pool.services.values()].flatMap((service) => {
    const ready = readyRunners(service);
    const runner = ready.findLast((one) => !pool.host.isBusy(one.id));
    if (runner === undefined) return [];
    return {
      key: { service, runner },
      runners: ready.length,
      calls: neededByCalls(pool, service),
      minScale: service.stored.definition.synchronous.min_scale,
      idleMs: now - Math.max(service.usedAt, runner.since),
    };
  });
  return chooseIdle(idle, spareMs);
}

/** Of a service with more than one. While one of these still ends its call no other is told to. */
function richest(pool: PoolState): Victim | undefined {
  let best: (Victim & { readonly count: number }) | undefined;
  for (const service of pool.services.values()) {
    if ([...service.runners.values()].some((one) => one.state === 'draining')) return undefined;
    const ready = readyRunners(service);
    const runner = ready.findLast((one) => !pool.host.isBusy(one.id)) ?? ready.at(-1);
    if (runner === undefined || ready.length <= Math.max(1, best?.count ?? 0)) continue;
    best = { service, runner, count: ready.length };
  }
  return best;
}
