import { currentNeed, type PoolState } from './pool-state.ts';
import { isNewest, spareRunners, type Runner, type ServiceRunners } from './service-runners.ts';

/** Milliseconds that a runner is spared although a run waits: between two calls it is without need for a moment. */
const graceMs = 1000;

interface Victim {
  readonly service: ServiceRunners;
  readonly runner: Runner;
}

/**
 * A runner to end for a service that finds no room: one of its own older version, else one that is not needed, else, where the service has
 * none at all, one of the service that has the most. Undefined while another is on its way out.
 */
export function makeRoomFor(pool: PoolState, service: ServiceRunners): Victim | undefined {
  const others = [...pool.services.values()];
  if (others.some(isEnding)) return undefined;
  const ready = [...service.runners.values()].filter((one) => one.state === 'ready');
  const older = ready.find((one) => !isNewest(service, one));
  if (older !== undefined) return { service, runner: older };
  const spare = spareRunner(pool, () => true);
  if (spare !== undefined) return spare;
  if ([...service.runners.values()].some((one) => one.state !== 'ended')) return undefined;
  return richest(pool);
}

/** A runner that nobody needs now, for runs that wait; those of `min_scale` are always needed. */
export function idleRunner(pool: PoolState): Victim | undefined {
  if ([...pool.services.values()].some(isEnding)) return undefined;
  const now = pool.clock.monotonic();
  return spareRunner(pool, ({ target }) => target.low !== undefined && now - target.low.since >= graceMs);
}

function isEnding(service: ServiceRunners): boolean {
  return [...service.runners.values()].some((runner) => runner.state === 'draining');
}

function spareRunner(pool: PoolState, from: (service: ServiceRunners) => boolean): Victim | undefined {
  for (const service of pool.services.values()) {
    if (service.runners.size === 0 || !from(service)) continue;
    const [runner] = spareRunners(service, currentNeed(pool, service));
    if (runner !== undefined) return { service, runner };
  }
  return undefined;
}

function richest(pool: PoolState): Victim | undefined {
  let best: (Victim & { readonly count: number }) | undefined;
  for (const service of pool.services.values()) {
    const ready = [...service.runners.values()].filter((one) => one.state === 'ready');
    const kept = Math.max(1, service.stored.definition.synchronous.min_scale);
    const runner = ready.at(-1);
    if (runner === undefined || ready.length <= kept || ready.length <= (best?.count ?? 0)) continue;
    best = { service, runner, count: ready.length };
  }
  return best;
}
