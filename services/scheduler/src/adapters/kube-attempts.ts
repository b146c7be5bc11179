import type { AttemptOutcome, AttemptRef } from '@sluice/shared/contracts';
import { hasEnded, type JobView, type PodView } from '../domain/kube-views.ts';

/** One attempt, as this process sees it. */
export interface KubeAttempt {
  readonly ref: AttemptRef;
  service: string;
  /** Undefined before it is seen, and after it has gone. */
  job: JobView | undefined;
  readonly pods: Map<string, PodView>;
  /** As it was seen last, also when it has gone. */
  lastPod: PodView | undefined;
  /** Whether this process knows of it by more than its name. */
  known: boolean;
  /** Set while its Job is being made here, and until it is seen; monotonic. */
  startedAt: number | undefined;
  creating: Promise<void> | undefined;
  cancelReason: string | undefined;
  /** How it ends whatever becomes of its pod. */
  verdict: AttemptOutcome | undefined;
  judging: boolean;
  /** Nothing is left to be reported. */
  settled: boolean;
  readonly waits: WaitingState;
  load: Load;
}

/** What was seen and said of an attempt that does not begin. */
export interface WaitingState {
  /** Monotonic. */
  since: number | undefined;
  readonly said: Set<string>;
  refused: string | undefined;
  askedAt: number;
  overAt: number;
  overSince: number | undefined;
}

interface Load {
  readonly slot: 0 | 1;
  readonly pending: 0 | 1;
}

/** All attempts that there are, and what room they take. */
export interface KubeAttempts {
  readonly all: ReadonlyMap<string, KubeAttempt>;
  get(ref: AttemptRef): KubeAttempt | undefined;
  /** The one of that name, made where there is none. */
  open(ref: AttemptRef, service: string): KubeAttempt;
  forget(attempt: KubeAttempt): void;
  putJob(before: JobView | undefined, after: JobView | undefined): void;
  putPod(before: PodView | undefined, after: PodView | undefined): void;
  /** To be called after `startedAt` was changed. */
  account(attempt: KubeAttempt): void;
  readonly used: () => number;
  readonly pending: () => number;
}

/**
 * @param onChange told after each change of an attempt
 * @param onLess told when less room is taken than before
 */
export function createKubeAttempts(
  onChange: (attempt: KubeAttempt) => void,
  onLess: () => void,
): KubeAttempts {
  const all = new Map<string, KubeAttempt>();
  const total = { slot: 0, pending: 0 };
  const settle = (attempt: KubeAttempt, load: Load): void => {
    const slot = load.slot - attempt.load.slot;
    const pending = load.pending - attempt.load.pending;
    total.slot += slot;
    total.pending += pending;
    attempt.load = load;
    if (slot < 0 || pending < 0) onLess();
  };
  const open = (ref: AttemptRef, service: string): KubeAttempt => {
    const known = all.get(keyOf(ref));
    if (known !== undefined) return known;
    const attempt = newAttempt(ref, service);
    all.set(keyOf(ref), attempt);
    return attempt;
  };
  return {
    all,
    get: (ref) => all.get(keyOf(ref)),
    open,
    forget: (attempt) => {
      all.delete(keyOf(attempt.ref));
      settle(attempt, { slot: 0, pending: 0 });
    },
    putJob: (before, after) => {
      const view = after ?? before;
      if (view === undefined) return;
      const attempt = open(view.ref, view.service);
      attempt.job = after;
      attempt.known = true;
      attempt.startedAt = undefined;
      settle(attempt, loadOf(attempt));
      onChange(attempt);
    },
    putPod: (before, after) => {
      const view = after ?? before;
      if (view === undefined) return;
      const attempt = open(view.ref, view.service);
      if (after === undefined) attempt.pods.delete(view.name);
      else attempt.pods.set(after.name, after);
      attempt.lastPod = view;
      attempt.known = true;
      settle(attempt, loadOf(attempt));
      onChange(attempt);
    },
    account: (attempt) => settle(attempt, loadOf(attempt)),
    used: () => total.slot,
    pending: () => total.pending,
  };
}

export function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

function newAttempt(ref: AttemptRef, service: string): KubeAttempt {
  return {
    ref: { run_id: ref.run_id, attempt: ref.attempt },
    service,
    job: undefined,
    pods: new Map(),
    lastPod: undefined,
    known: false,
    startedAt: undefined,
    creating: undefined,
    cancelReason: undefined,
    verdict: undefined,
    judging: false,
    settled: false,
    waits: {
      since: undefined,
      said: new Set(),
      refused: undefined,
      askedAt: 0,
      overAt: 0,
      overSince: undefined,
    },
    load: { slot: 0, pending: 0 },
  };
}

function loadOf(attempt: KubeAttempt): Load {
  const { job, pods, startedAt } = attempt;
  const alive = [...pods.values()].filter((pod) => !hasEnded(pod));
  const open = startedAt !== undefined || (job !== undefined && job.state !== 'ended');
  if (!open && alive.length === 0) return { slot: 0, pending: 0 };
  // One that a queue holds back is the queue's to bound.
  const waits =
    job?.suspended !== true &&
    alive.every((pod) => pod.phase === 'Pending') &&
    (alive.length > 0 || attempt.lastPod === undefined);
  return { slot: 1, pending: waits ? 1 : 0 };
}

/** Whether an attempt seems to have ended, so that it is worth asking how. */
export function seemsEnded({ startedAt, job, pods, lastPod, verdict }: KubeAttempt): boolean {
  if (verdict !== undefined) return true;
  if (startedAt !== undefined) return false;
  if (job === undefined || job.state !== 'open') return true;
  return pods.size === 0 ? lastPod !== undefined : [...pods.values()].some(hasEnded);
}

/**
 * Whether nothing of an attempt runs any more.
 * @param lostBefore epoch milliseconds: pods that should have gone before that are on a node that nobody reaches
 */
export function hasSurelyEnded(attempt: KubeAttempt, lostBefore: number): boolean {
  const { pods } = attempt;
  return seemsEnded(attempt) && [...pods.values()].every((pod) => hasEnded(pod) || isStuck(pod, lostBefore));
}

function isStuck({ dueAt }: PodView, lostBefore: number): boolean {
  return dueAt !== undefined && dueAt < lostBefore;
}
