import type { RunnerEntry } from '@sluice/shared/contracts';
import {
  afterRefusal,
  nextTry,
  pickRunner,
  unused,
  type ReadyRunner,
  type RunnerUse,
} from '../../domain/pick-runner.ts';

/** Which runners of a service this process uses, and which refused it. */
export interface RunnerUses {
  /** Takes a runner for a call; undefined where none is free. */
  take(runners: readonly RunnerEntry[], now: number): ReadyRunner | undefined;
  /** The call that it had has ended. */
  done(id: string): void;
  /** It started nothing of the call. */
  refused(id: string, why: 'busy' | 'away', now: number): void;
  /** When to look again, if a runner that refused is to be tried again. */
  nextTry(runners: readonly RunnerEntry[], now: number): number | undefined;
  /** Forgets runners that are no longer there. */
  keep(runners: readonly RunnerEntry[]): void;
}

/** @param random 0 to 1 */
export function createRunnerUses(random: () => number): RunnerUses {
  const uses = new Map<string, RunnerUse>();
  let turns = 0;
  return {
    take: (runners, now) => {
      const runner = pickRunner(runners, uses, now);
      if (runner === undefined) return undefined;
      turns += 1;
      uses.set(runner.id, { ...(uses.get(runner.id) ?? unused), inHand: true, lastUsed: turns });
      return runner;
    },
    done: (id) => {
      uses.set(id, { ...unused, lastUsed: uses.get(id)?.lastUsed ?? 0 });
    },
    refused: (id, why, now) => {
      uses.set(id, afterRefusal(uses.get(id) ?? unused, why, now, random()));
    },
    nextTry: (runners, now) => nextTry(runners, uses, now),
    keep: (runners) => {
      if (uses.size <= runners.length) return;
      const ids = new Set(runners.map(({ id }) => id));
      for (const [id, { inHand }] of uses) if (!inHand && !ids.has(id)) uses.delete(id);
    },
  };
}
