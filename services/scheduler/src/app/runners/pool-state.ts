import type { Bus } from '@sluice/shared/bus';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, Leases } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { Executor, RunnerHost } from '../../ports.ts';
import type { DemandTable } from './demand.ts';
import { needOf, placesOf, stateMessage, type Runner, type ServiceRunners } from './service-runners.ts';
import { desiredRunners, type RunnerNeed } from '../../domain/runners.ts';

export interface PoolDeps {
  readonly bus: Pick<Bus, 'hint' | 'listen'>;
  readonly host: RunnerHost;
  /** Declared CPU and memory are shared with runs. */
  readonly executor: Pick<Executor, 'reserve' | 'onRoom'>;
  readonly definitions: Pick<DefinitionStore, 'secrets'>;
  /** Which of several replicas acts. @default this one */
  readonly leases?: Leases;
  readonly clock: Clock;
  readonly log: Logger;
  /** Unique, of letters and digits. */
  readonly randomId: () => string;
  readonly config: PoolConfig;
}

export interface PoolConfig {
  /** Milliseconds that a runner is kept without need. */
  readonly idleMs: number;
  /** Milliseconds that calls in hand get when the service or the server is stopped. */
  readonly drainMs: number;
  /** Milliseconds a script may run where its definition does not say. */
  readonly defaultTimeoutMs: number;
}

/** What all parts of the pool share. */
export interface PoolState extends PoolDeps {
  /** By uid. */
  readonly services: Map<string, ServiceRunners>;
  readonly demand: DemandTable;
  /** Services that wait for room, those that wait longest first. */
  readonly waiting: Set<ServiceRunners>;
  /** Those of them with calls that are without a runner. */
  readonly calling: Set<ServiceRunners>;
  /** When a run last found no room (monotonic). */
  runRefusedAt: number | undefined;
  /** Starts under way. */
  starting: number;
  /** Whether this process is the one that acts. */
  running: boolean;
}

/** Starts at the same time over all services: each may pull an image. */
export const maxStarting = 4;

/** Milliseconds after a run found no room in which nothing is started that is only to be kept ready. */
const calmMs = 5000;

export function currentNeed(pool: PoolState, service: ServiceRunners): RunnerNeed {
  return needOf(service, pool.demand.of(service.stored.uid), pool.host.limit);
}

/** Runners that calls need now. */
export function neededByCalls(pool: PoolState, service: ServiceRunners): number {
  return desiredRunners({ ...currentNeed(pool, service), minScale: 0 });
}

/** Whether work waits for room: a run, or a call. */
export function isPressed(pool: PoolState): boolean {
  if (pool.calling.size > 0) return true;
  return pool.runRefusedAt !== undefined && pool.clock.monotonic() - pool.runRefusedAt < calmMs;
}

/** Places of the host that runners have. */
export function placesInUse(pool: PoolState): number {
  return [...pool.services.values()].reduce((sum, one) => sum + placesOf(one), 0);
}

export function setRunnerState(pool: PoolState, runner: Runner, state: Runner['state']): void {
  runner.state = state;
  runner.since = pool.clock.monotonic();
}

/** Says the state of a service's runners, if it has changed or `again`. */
export function say(pool: PoolState, service: ServiceRunners, again = false): void {
  const { clock, host, bus, log } = pool;
  const payload = stateMessage(service, {
    now: clock.now(),
    monotonic: clock.monotonic(),
    hostLimit: host.limit,
  });
  const text = JSON.stringify(payload);
  if (!again && text === service.said) return;
  service.said = text;
  try {
    bus.hint({ name: 'runners.state', key: payload.service, payload });
  } catch (error) {
    log.warn({ err: error, service: payload.service }, 'state of runners could not be said');
  }
}
