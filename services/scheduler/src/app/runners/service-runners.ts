import type { RunnerEntry, RunnerState } from '@sluice/shared/contracts';
import type { StoredDefinition } from '@sluice/shared/stores';
import {
  hasScript,
  isStopped,
  runnerLimit,
  runnersState,
  type RunnerNeed,
  type RunnerTarget,
} from '../../domain/runners.ts';

/** One runner, from the decision to start it until its log is forgotten. */
export interface Runner {
  readonly id: string;
  readonly version: number;
  /** Milliseconds a call of its version may take. */
  readonly callMs: number;
  /** It has its room; until then it may still be refused. */
  placed: boolean;
  state: RunnerEntry['state'];
  url: string | undefined;
  /** Monotonic; of the last change of `state`. */
  since: number;
}

/** The runners of one service in one life of it. */
export interface ServiceRunners {
  stored: StoredDefinition;
  /** The service was deleted: its runners are on their way out. */
  gone: boolean;
  /** In the order of their start. */
  readonly runners: Map<string, Runner>;
  target: RunnerTarget;
  /** Starts that failed, one after the other. */
  failure: { readonly count: number; readonly until: number; readonly reason: string } | undefined;
  /** Since when it waits for room (monotonic). */
  waitsSince: number | undefined;
  /** Since when a call waits for its first runner (monotonic). */
  callWaitsSince: number | undefined;
  /** When callers last said what they need (monotonic). */
  usedAt: number;
  state: RunnerState['state'];
  /** Epoch milliseconds. */
  stateSince: number;
  /** What was said last, as text. */
  said: string;
}

export function createServiceRunners(stored: StoredDefinition, now: number): ServiceRunners {
  return {
    stored,
    gone: false,
    runners: new Map(),
    target: { count: 0 },
    failure: undefined,
    waitsSince: undefined,
    callWaitsSince: undefined,
    usedAt: 0,
    state: 'ready',
    stateSince: now,
    said: '',
  };
}

/** Bounds and demand of a service. */
export function needOf(
  service: ServiceRunners,
  demand: { readonly waiting: number; readonly active: number },
  hostLimit: number,
): RunnerNeed {
  const { definition } = service.stored;
  return {
    ...demand,
    minScale: definition.synchronous.min_scale,
    maxScale: definition.synchronous.max_scale,
    hostLimit,
    off: isOff(service),
  };
}

/** It is to have no runner, whatever is asked for. */
export function isOff({ gone, stored }: ServiceRunners): boolean {
  return gone || isStopped(stored.definition) || !hasScript(stored.definition);
}

/** Runners that perform calls or soon will. */
export function isLive(runner: Runner): boolean {
  return runner.state === 'starting' || runner.state === 'ready';
}

export function liveRunners(service: ServiceRunners): readonly Runner[] {
  return [...service.runners.values()].filter(isLive);
}

/** Those that have a place of the host. */
export function placesOf(service: ServiceRunners): number {
  let places = 0;
  for (const runner of service.runners.values()) if (runner.state !== 'ended') places += 1;
  return places;
}

export function isNewest(service: ServiceRunners, runner: Runner): boolean {
  return runner.version === service.stored.version;
}

export function readyNewest(service: ServiceRunners): readonly Runner[] {
  return [...service.runners.values()].filter((one) => one.state === 'ready' && isNewest(service, one));
}

/** Whether there is anything to tell of the service that nobody could guess. */
export function isNotable(service: ServiceRunners): boolean {
  return service.runners.size > 0 || service.target.count > 0 || service.state !== 'ready';
}

/** What is said of a service. */
export function stateMessage(
  service: ServiceRunners,
  at: { readonly now: number; readonly monotonic: number; readonly hostLimit: number },
): RunnerState {
  const { stored, failure } = service;
  const { definition } = stored;
  const ready = [...service.runners.values()].filter((runner) => runner.state === 'ready');
  const { state, reason } = runnersState({
    stopped: service.gone || isStopped(definition),
    hasScript: hasScript(definition),
    target: service.target.count,
    ready: ready.length,
    readyNewest: readyNewest(service).length,
    failure: failure?.reason,
    pausing: failure !== undefined && at.monotonic < failure.until,
    waitsForRoom: service.waitsSince !== undefined,
  });
  if (state !== service.state) service.stateSince = at.now;
  service.state = state;
  return {
    service: stored.name,
    service_uid: stored.uid,
    state,
    reason: service.gone ? 'The service was deleted.' : reason,
    desired: service.target.count,
    limit: runnerLimit({ maxScale: definition.synchronous.max_scale, hostLimit: at.hostLimit }),
    runners: [...service.runners.values()].map(entryOf),
    since: service.stateSince,
  };
}

function entryOf({ id, state, url, version }: Runner): RunnerEntry {
  return { id, state, ...(url === undefined ? {} : { url }), service_version: version };
}
