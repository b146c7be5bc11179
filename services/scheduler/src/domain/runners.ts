import { stoppedAnnotation, type RunnerState, type ServiceDefinition } from '@sluice/shared/contracts';

/** What decides how many runners a service should have. */
export interface RunnerNeed {
  /** Calls that wait for a runner, and that have one. */
  readonly waiting: number;
  readonly active: number;
  /** `synchronous` of the definition; `max_scale` 0 is no limit of its own. */
  readonly minScale: number;
  readonly maxScale: number;
  /** Runners that the host has places for. */
  readonly hostLimit: number;
  /** The service was stopped, deleted or has nothing to run. */
  readonly off: boolean;
}

/** How many runners a service may have. */
export function runnerLimit(need: Pick<RunnerNeed, 'maxScale' | 'hostLimit'>): number {
  return need.maxScale > 0 ? Math.min(need.maxScale, need.hostLimit) : need.hostLimit;
}

/** How many runners a service needs now: one a call, within its bounds. */
export function desiredRunners(need: RunnerNeed): number {
  if (need.off) return 0;
  return Math.min(Math.max(need.waiting + need.active, need.minScale, 0), runnerLimit(need));
}

/** How many runners are kept; less than was needed only after some time. */
export interface RunnerTarget {
  readonly count: number;
  /** Since when fewer would do (monotonic), and the most that were needed since then. */
  readonly low?: { readonly since: number; readonly most: number };
}

/** Up at once, down to what was needed at most for `idleMs`: calls come in bursts, and a runner costs a start. */
export function nextTarget(before: RunnerTarget, desired: number, now: number, idleMs: number): RunnerTarget {
  if (desired >= before.count || idleMs <= 0) return { count: desired };
  const since = before.low?.since ?? now;
  const most = Math.max(before.low?.most ?? 0, desired);
  if (now - since < idleMs) return { count: before.count, low: { since, most } };
  return most > desired ? { count: most, low: { since: now, most: desired } } : { count: desired };
}

/** A target while work waits for room: what calls need and what is there, but nothing new that is only to be kept ready. */
export function heldTarget(target: RunnerTarget, desired: number, live: number): RunnerTarget {
  const most = Math.max(desired, live);
  return target.count > most ? { count: most } : target;
}

/** Milliseconds before a service whose runners fail to start is tried again. */
export function startPause(failures: number): number {
  return Math.min(60_000, 1000 * 2 ** Math.min(failures - 1, 10));
}

export function isStopped(definition: Pick<ServiceDefinition, 'annotations'>): boolean {
  return definition.annotations[stoppedAnnotation] === 'true';
}

/** A script of its own or in the variable `SCRIPT` (OSCAR §7.2). */
export function hasScript(definition: Pick<ServiceDefinition, 'script' | 'environment'>): boolean {
  const variable = definition.environment.variables['SCRIPT'] ?? definition.environment.secrets['SCRIPT'];
  return (definition.script ?? '').trim() !== '' || variable !== undefined;
}

export interface RunnerFacts {
  readonly stopped: boolean;
  readonly hasScript: boolean;
  readonly target: number;
  /** Ready ones of any version, and of the newest. */
  readonly ready: number;
  readonly readyNewest: number;
  /** Why runners fail to start; undefined where they do not. */
  readonly failure: string | undefined;
  /** Whether that is tried again only after a pause which is not over. */
  readonly pausing: boolean;
  readonly waitsForRoom: boolean;
}

/** The state of a service's runners in OSCAR's words (OSCAR §1.6), and a sentence for people. */
export function runnersState(facts: RunnerFacts): Pick<RunnerState, 'state' | 'reason'> {
  if (facts.stopped) return { state: 'stopped', reason: 'The service is stopped.' };
  if (!facts.hasScript) return { state: 'failed', reason: 'The service has no script.' };
  const enough = facts.readyNewest >= facts.target;
  if (facts.failure !== undefined && (!enough || (facts.target === 0 && facts.pausing))) {
    return { state: facts.ready > 0 ? 'degraded' : 'failed', reason: facts.failure };
  }
  if (enough || facts.ready > 0) return { state: 'ready', reason: '' };
  const reason = facts.waitsForRoom ? 'Waits for free CPU, memory or a place for a runner.' : '';
  return { state: 'pending', reason };
}
