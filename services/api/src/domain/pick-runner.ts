import type { RunnerEntry } from '@sluice/shared/contracts';

/** What this api process has to do with a runner. */
export interface RunnerUse {
  /** A call of this process is with it. */
  readonly inHand: boolean;
  /** How it refused the last call; undefined after one that it took. */
  readonly refused: 'busy' | 'away' | undefined;
  /** Refusals one after the other. */
  readonly refusals: number;
  /** Not tried before this, after a refusal. */
  readonly until: number;
  /** Grows with each call: the one that waited longest is the next. */
  readonly lastUsed: number;
}

export const unused: RunnerUse = {
  inHand: false,
  refused: undefined,
  refusals: 0,
  until: 0,
  lastUsed: 0,
};

/** A ready runner and where it is reached. */
export type ReadyRunner = RunnerEntry & { readonly url: string };

export type Uses = ReadonlyMap<string, RunnerUse>;

export function readyRunners(runners: readonly RunnerEntry[]): readonly ReadyRunner[] {
  return runners.filter(
    (runner): runner is ReadyRunner => runner.state === 'ready' && runner.url !== undefined,
  );
}

/**
 * The runner for the next call: of the newest version that any reachable one has, free as far as this process knows, and
 * among those the one that was not used for longest.
 */
export function pickRunner(
  runners: readonly RunnerEntry[],
  uses: Uses,
  now: number,
): ReadyRunner | undefined {
  const useOf = (id: string): RunnerUse => uses.get(id) ?? unused;
  const reachable = readyRunners(runners).filter(({ id }) => {
    const use = useOf(id);
    return use.refused !== 'away' || use.until <= now;
  });
  const newest = Math.max(...reachable.map((runner) => runner.service_version));
  let best: ReadyRunner | undefined;
  for (const runner of reachable) {
    const { inHand, until } = useOf(runner.id);
    if (runner.service_version !== newest || inHand || until > now) continue;
    if (best === undefined || isBefore(useOf(runner.id), useOf(best.id))) best = runner;
  }
  return best;
}

function isBefore(a: RunnerUse, b: RunnerUse): boolean {
  return a.refusals === b.refusals ? a.lastUsed < b.lastUsed : a.refusals < b.refusals;
}

/** When a runner that refused may be tried again; undefined where none has to be waited for. */
export function nextTry(runners: readonly RunnerEntry[], uses: Uses, now: number): number | undefined {
  const times = readyRunners(runners)
    .map(({ id }) => uses.get(id) ?? unused)
    .filter(({ inHand, until }) => !inHand && until > now)
    .map(({ until }) => until);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Milliseconds: a busy runner belongs to another api process, and is free again when its call has ended. */
const pauses = { busy: { first: 4, most: 250 }, away: { first: 100, most: 5000 } };

/**
 * The use of a runner after it refused a call.
 * @param random 0 to 1: two processes that were refused together come back apart
 */
export function afterRefusal(
  use: RunnerUse,
  refused: 'busy' | 'away',
  now: number,
  random: number,
): RunnerUse {
  const refusals = use.refused === refused ? use.refusals + 1 : 1;
  const { first, most } = pauses[refused];
  const pause = Math.min(most, first * 2 ** (refusals - 1));
  return { ...use, inHand: false, refused, refusals, until: now + pause * (0.5 + random / 2) };
}
