import type { AttemptOutcome, AttemptRef, AttemptReport, OutcomeRecord } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { plannedStop } from '../domain/next-step.ts';
import { podOutcome } from '../domain/pod-outcome.ts';
import { hasSurelyEnded, seemsEnded, type KubeAttempt } from './kube-attempts.ts';

/** What the ledger holds of an attempt: `over` when it wants it no more, `unknown` when it does not know the run. */
export type AttemptStanding = 'starting' | 'running' | 'over' | 'unknown';

export interface JudgeDeps {
  readonly standingOf: (ref: AttemptRef) => Promise<AttemptStanding>;
  /** What the supervisor wrote, if it did. */
  readonly readOutcome: (
    ref: AttemptRef & { readonly service: string },
  ) => Promise<OutcomeRecord | undefined>;
  readonly report: (report: AttemptReport) => Promise<void>;
  /** Whether what is seen of the cluster is up to date. */
  readonly isCurrent: () => boolean;
  /** Whether it is for this replica to act first. */
  readonly isFirst: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that a supervisor's report gets to arrive. */
  readonly graceMs: number;
  /** Milliseconds after which a pod that should be gone is taken for lost with its node. */
  readonly unreachableMs: number;
  readonly signal: AbortSignal;
}

/** Milliseconds that the other replicas leave to the first one. */
const secondGraceMs = 8000;
/** Ledger and outcome objects are asked for that many attempts at the same time. */
const parallel = 16;

/**
 * Finds out how attempts ended whose supervisor did not report it: what it wrote, else what the cluster shows; of a pod that was asked to end, both. Each is judged by one call at a time, again
 * and again until the ledger has it.
 */
export function createJudge(deps: JudgeDeps): { look(attempt: KubeAttempt): void; idle(): Promise<void> } {
  const underWay = new Set<Promise<void>>();
  const gate = createGate(parallel);
  return {
    look: (attempt) => {
      if (attempt.judging || attempt.settled || !seemsEnded(attempt) || deps.signal.aborted) return;
      attempt.judging = true;
      const work = judge(deps, attempt, gate).finally(() => {
        attempt.judging = false;
        underWay.delete(work);
      });
      underWay.add(work);
    },
    idle: async () => {
      await Promise.all(underWay);
    },
  };
}

type Gate = <T>(work: () => Promise<T>) => Promise<T>;

function createGate(limit: number): Gate {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}

async function judge(deps: JudgeDeps, attempt: KubeAttempt, gate: Gate): Promise<void> {
  const { clock, signal, log, graceMs } = deps;
  let pause = attempt.verdict === undefined ? graceMs + (deps.isFirst() ? 0 : secondGraceMs) : 0;
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      await clock.sleep(pause, signal);
      await gate(() => settle(deps, attempt));
      return;
    } catch (error) {
      if (signal.aborted) return;
      pause = Math.min(30_000, 500 * 2 ** failures);
      log.warn({ err: error, ...attempt.ref }, 'end of an attempt not settled yet, trying again');
    }
  }
}

async function settle(deps: JudgeDeps, attempt: KubeAttempt): Promise<void> {
  const standing = await deps.standingOf(attempt.ref);
  if (standing === 'over' || standing === 'unknown') {
    attempt.settled = true;
    return;
  }
  const outcome = await outcomeOf(deps, attempt, standing === 'running');
  // Something of it may run still: what is seen of it next brings it here again.
  if (outcome === undefined) return;
  await deps.report({ kind: 'finished', ...attempt.ref, outcome });
  attempt.settled = true;
}

async function outcomeOf(
  deps: JudgeDeps,
  attempt: KubeAttempt,
  scriptStarted: boolean,
): Promise<AttemptOutcome | undefined> {
  const record = await deps.readOutcome({ ...attempt.ref, service: attempt.service });
  const isPlanned = record?.outcome.failure?.code === plannedStop;
  if (record !== undefined && !isPlanned) return record.outcome;
  if (attempt.verdict !== undefined) return attempt.verdict;
  if (!deps.isCurrent()) throw new AppError('unavailable', 'What the cluster does is not known now.');
  if (!hasSurelyEnded(attempt, deps.clock.now() - deps.unreachableMs)) return undefined;
  if (attempt.cancelReason !== undefined) {
    const failure = { code: 'cancelled', message: attempt.cancelReason };
    return { result: 'cancelled', script_started: scriptStarted, outputs: [], failure };
  }
  const shown = podOutcome({ job: attempt.job, pod: attempt.lastPod, scriptStarted });
  // That its pod was asked to end is for the supervisor to see, and why for the cluster to say: a script may have asked by itself, or filled the node's disk.
  return record !== undefined && shown.result === 'lost' && wasTakenAway(attempt) ? record.outcome : shown;
}

function wasTakenAway({ job, pods, lastPod }: KubeAttempt): boolean {
  if (job === undefined || pods.size === 0 || lastPod === undefined) return true;
  return lastPod.dueAt !== undefined || lastPod.disruption !== undefined || lastPod.reason !== undefined;
}
