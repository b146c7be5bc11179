import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger, StoredDefinition } from '@sluice/shared/stores';

/**
 * How many starts the ledger would allow now, over all services and of one. It is asked before anything is fetched, and not again before an attempt ended
 * where it said "none": a full cluster costs its replicas nothing.
 */
export interface Limits {
  /** A round begins. Undefined while it is known that all places are taken. */
  free(): Promise<number | undefined>;
  /** Starts of one service that its own limit allows; Infinity without one. */
  allowance(service: string, definition: StoredDefinition | undefined): Promise<number>;
  isBlocked(service: string): boolean;
  /** A start was fetched for; call what is returned once the ledger has it, or will not. */
  starting(service: string): () => void;
  /** Nothing of the service before an attempt ends, or a while is over. @param since from `moment` before it was found out */
  block(service: string, since: number): void;
  /** Changes whenever an attempt ended. */
  moment(): number;
  /** An attempt of the service ended, wherever. */
  ended(service: string): void;
}

interface State {
  readonly starting: Map<string, number>;
  startingInAll: number;
  /** Monotonic times until which nothing is tried. */
  readonly blocked: Map<string, number>;
  fullUntil: number;
  moment: number;
  /** Services of which an attempt ended since the round began: what was read may be older than that. */
  readonly endedInRound: Set<string>;
}

/** @param slots runs at the same time over all services @param retryMs milliseconds after which it is tried again without a hint */
export function createLimits(deps: {
  readonly ledger: Pick<RunLedger, 'counts'>;
  readonly clock: Clock;
  readonly slots: number;
  readonly retryMs: number;
}): Limits {
  const { ledger, clock, slots, retryMs } = deps;
  const state: State = {
    starting: new Map(),
    startingInAll: 0,
    blocked: new Map(),
    fullUntil: 0,
    moment: 0,
    endedInRound: new Set(),
  };
  return {
    free: async () => {
      if (clock.monotonic() < state.fullUntil) return undefined;
      state.endedInRound.clear();
      const { moment } = state;
      const counts = await ledger.counts();
      const free = slots - counts.starting - counts.running - state.startingInAll;
      if (free > 0) return free;
      // Those that are starting here say so when they are done.
      if (moment === state.moment && state.startingInAll === 0) state.fullUntil = clock.monotonic() + retryMs;
      return undefined;
    },
    allowance: async (service, stored) => {
      const limit = stored?.definition.sluice?.max_concurrency ?? 0;
      if (limit === 0) return Infinity;
      const counts = await ledger.counts(service);
      const starting = state.starting.get(service) ?? 0;
      const left = limit - counts.starting - counts.running - starting;
      if (left <= 0 && starting === 0 && !state.endedInRound.has(service))
        state.blocked.set(service, clock.monotonic() + retryMs);
      return Math.max(0, left);
    },
    isBlocked: (service) => {
      const until = state.blocked.get(service);
      if (until === undefined) return false;
      if (clock.monotonic() < until) return true;
      state.blocked.delete(service);
      return false;
    },
    starting: (service) => beginStart(state, service),
    block: (service, since) => {
      if (since === state.moment) state.blocked.set(service, clock.monotonic() + retryMs);
    },
    moment: () => state.moment,
    ended: (service) => {
      state.moment += 1;
      state.fullUntil = 0;
      state.blocked.delete(service);
      state.endedInRound.add(service);
    },
  };
}

function beginStart(state: State, service: string): () => void {
  state.startingInAll += 1;
  state.starting.set(service, (state.starting.get(service) ?? 0) + 1);
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    state.startingInAll -= 1;
    const left = (state.starting.get(service) ?? 1) - 1;
    if (left === 0) state.starting.delete(service);
    else state.starting.set(service, left);
  };
}
