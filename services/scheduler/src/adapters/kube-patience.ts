import type { AttemptRef } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { givenUp, waitingOf, type Waiting } from '../domain/pod-waiting.ts';
import { seemsEnded, type KubeAttempt } from './kube-attempts.ts';
import type { KubeConnection } from './kube-connection.ts';
import type { AttemptStanding } from './kube-judge.ts';

export interface PatienceDeps {
  readonly connection: Pick<KubeConnection, 'refusals'>;
  readonly standingOf: (ref: AttemptRef) => Promise<AttemptStanding>;
  /** A line on the run's time line. */
  readonly note: (ref: AttemptRef, message: string) => Promise<void>;
  /** Deletes the attempt's Job and pods. */
  readonly remove: (attempt: KubeAttempt) => Promise<void>;
  /** Reports an attempt's verdict. */
  readonly settle: (attempt: KubeAttempt) => void;
  readonly clock: Clock;
  /** Milliseconds that something unlikely to heal is waited for. */
  readonly pendingMs: number;
  /** Milliseconds that a Job which the ledger wants no more gets to end by itself. */
  readonly orphanMs: number;
}

/** Lines that one attempt may add to the time line while it waits. */
const maxNotes = 8;
/** Milliseconds that a Job's controller gets to make a pod before it is asked why it did not, and between two such questions. */
const podlessMs = 10_000;

/** Says why an attempt does not begin, gives up what cannot begin, and removes what nobody wants any more. For one replica at a time. */
export async function attend(deps: PatienceDeps, attempt: KubeAttempt): Promise<void> {
  await removeUnwanted(deps, attempt);
  if (attempt.settled || attempt.cancelReason !== undefined || seemsEnded(attempt)) return;
  const { waits, pods, job } = attempt;
  const [pod] = pods.values();
  const now = deps.clock.monotonic();
  if (job !== undefined && pod === undefined && !job.suspended) await askWhyNoPod(deps, attempt, now);
  const waiting = waitingOf(job, pod, waits.refused);
  if (waiting === undefined) {
    waits.since = undefined;
    return;
  }
  waits.since ??= now;
  await say(deps, attempt, waiting);
  const over = waiting.heals === 'unlikely' && now - waits.since >= deps.pendingMs;
  if (!over && waiting.heals !== 'never') return;
  attempt.verdict = givenUp(waiting);
  deps.settle(attempt);
  await deps.remove(attempt);
}

/** The reason is told to nobody but the Job's events. */
async function askWhyNoPod(deps: PatienceDeps, attempt: KubeAttempt, now: number): Promise<void> {
  const { waits, job } = attempt;
  if (job === undefined || deps.clock.now() - job.createdAt < podlessMs) return;
  if (waits.askedAt !== 0 && now - waits.askedAt < podlessMs) return;
  waits.askedAt = now;
  waits.refused = await deps.connection.refusals(job.name);
}

/** Once each, by what is before the colon: the rest changes with every try of the cluster. */
async function say(deps: PatienceDeps, { ref, waits }: KubeAttempt, { message }: Waiting): Promise<void> {
  const kind = message.slice(0, Math.max(message.indexOf(': '), 20));
  if (waits.said.has(kind) || waits.said.size >= maxNotes) return;
  await deps.note(ref, message);
  waits.said.add(kind);
}

/** A Job whose attempt is over for the ledger (timed out, cancelled, declared lost) and that does not end by itself. */
async function removeUnwanted(deps: PatienceDeps, attempt: KubeAttempt): Promise<void> {
  const { job, waits } = attempt;
  if (job === undefined || job.state === 'ended') return;
  const now = deps.clock.monotonic();
  if (deps.clock.now() - job.createdAt < deps.orphanMs || now - waits.overAt < deps.orphanMs / 2) return;
  waits.overAt = now;
  if ((await deps.standingOf(attempt.ref)) !== 'over') {
    waits.overSince = undefined;
    return;
  }
  waits.overSince ??= now;
  if (now - waits.overSince >= deps.orphanMs / 2) await deps.remove(attempt);
}
