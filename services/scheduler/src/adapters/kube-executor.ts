import {
  podToken,
  type AttemptPlan,
  type AttemptRef,
  type AttemptReport,
  type Run,
} from '@sluice/shared/contracts';
import type { Secret } from '@sluice/shared/config';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import { createPeriodic, type Clock } from '@sluice/shared/lifecycle';
import { createSoleLeases, type Leases } from '@sluice/shared/stores';
import { traceIdOf, type Logger } from '@sluice/shared/telemetry';
import { ignoredOnKubernetes } from '../domain/ignored.ts';
import { deadlineSeconds, jobManifest, type JobSettings } from '../domain/job-manifest.ts';
import { hasEnded, jobView, podView, type JobView, type PodView } from '../domain/kube-views.ts';
import { jobName, podSelector } from '../domain/pod-labels.ts';
import type { ImageFacts } from '../domain/pod-security.ts';
import { createRunReader } from '../domain/run-annotation.ts';
import type { Executor, Reservation } from '../ports.ts';
import { createKubeAttempts, type KubeAttempt, type KubeAttempts } from './kube-attempts.ts';
import type { KubeConnection } from './kube-connection.ts';
import { createKubeInformer, type KubeInformer } from './kube-informer.ts';
import { createJudge, type JudgeDeps } from './kube-judge.ts';
import { attend } from './kube-patience.ts';

export interface KubeExecutorDeps extends Pick<JudgeDeps, 'standingOf' | 'readOutcome'> {
  readonly connection: KubeConnection;
  readonly settings: JobSettings;
  readonly slots: number;
  /** Pods, over all replicas, that may wait for a node or an image at the same time. @default 50 */
  readonly maxPending?: number;
  /** What tokens of pods are made with (`podToken`). */
  readonly tokenKey: Secret;
  /** A line on the run's time line. */
  readonly note: (ref: AttemptRef, message: string) => Promise<void>;
  /** What is known of an image before it is pulled. @default nothing */
  readonly imageFacts?: (image: string, pullSecrets: readonly string[]) => Promise<ImageFacts | undefined>;
  /** @default createSoleLeases() */
  readonly leases?: Leases;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
  readonly timing?: KubeTiming;
}

/** Milliseconds. */
export interface KubeTiming {
  /** That a supervisor's report gets to arrive after its pod has ended. @default 2000 */
  readonly graceMs?: number;
  /** Between two looks at all attempts. @default 5000 */
  readonly tickMs?: number;
  /** That an image which cannot be pulled is waited for. @default 600000 */
  readonly pendingMs?: number;
  /** That a Job which the ledger wants no more gets to end. @default 60000 */
  readonly orphanMs?: number;
  /** After which a pod that should be gone is taken for lost with its node. @default 600000 */
  readonly unreachableMs?: number;
}

interface Parts {
  readonly deps: KubeExecutorDeps;
  readonly attempts: KubeAttempts;
  readonly jobs: KubeInformer<JobView>;
  readonly pods: KubeInformer<PodView>;
  readonly judge: ReturnType<typeof createJudge>;
  readonly room: (() => void)[];
  readonly stopping: AbortController;
  /** What is known of images, for sentences. */
  readonly images: Map<string, ImageFacts | undefined>;
  report: (report: AttemptReport) => Promise<void>;
  /** Reservations that are held. */
  held: number;
  first: boolean;
}

const readyMs = 30_000;
/** Milliseconds after which a Job that was made and is not seen is taken for gone. */
const unseenMs = 30_000;
/** Seconds that a pod gets to end after a cancellation. */
const cancelGraceSeconds = 5;
const maxImages = 1000;

/**
 * Performs attempts as Jobs. Several replicas share a cluster: each sees all Jobs, whoever made them, so that a replica that died leaves nothing behind.
 * Supervisors report by themselves; here is found out what nobody reported.
 */
export function createKubeExecutor(deps: KubeExecutorDeps): Executor & { carriedRuns(): AsyncIterable<Run> } {
  const parts = partsOf(deps);
  const tick = createPeriodic(
    { name: 'kube-attempts', everyMs: deps.timing?.tickMs ?? 5000, clock: deps.clock, log: deps.log },
    () => look(parts),
  );
  return {
    kind: 'kubernetes',
    shared: true,
    slots: deps.slots,
    reserve: () => Promise.resolve(reserve(parts)),
    start: (plan, reservation, run) => start(parts, plan, reservation, run),
    cancel: (ref, reason) => cancel(parts, ref, reason),
    attempts: async () => {
      await isReady(parts);
      // One that was made meanwhile would be taken for lost.
      if (!isCurrent(parts)) throw new AppError('unavailable', 'What the cluster does is not known now.');
      return [...parts.attempts.all.values()]
        .filter((one) => one.known && !one.settled)
        .map(({ ref }) => ref);
    },
    carriedRuns: () => carriedRuns(deps),
    onReport: (listener) => {
      parts.report = listener;
    },
    onRoom: (listener) => {
      parts.room.push(listener);
    },
    ignores: (definition) => ignoredOnKubernetes(definition, parts.images.get(definition.image)),
    stop: async (timeoutMs) => {
      // Jobs outlive this process: another replica, or the next start, goes on with them.
      parts.stopping.abort();
      await tick.stop();
      await Promise.all([parts.jobs.stop(), parts.pods.stop(), parts.judge.idle()]);
      await Promise.race([allCreated(parts), deps.clock.sleep(timeoutMs)]);
    },
  };
}

function partsOf(deps: KubeExecutorDeps): Parts {
  const { clock, random, log, connection, timing = {} } = deps;
  const stopping = new AbortController();
  const room: (() => void)[] = [];
  const tellRoom = (): void => {
    if (!stopping.signal.aborted) for (const listener of room) listener();
  };
  const attempts = createKubeAttempts((attempt) => parts.judge.look(attempt), tellRoom);
  const labels = podSelector(deps.settings.instance, 'attempt');
  const common = { connection, labels, clock, random, log };
  const parts: Parts = {
    deps,
    attempts,
    jobs: createKubeInformer<JobView>({
      ...common,
      resource: 'jobs',
      project: jobView,
      onChange: (_name, before, after) => attempts.putJob(before, after),
    }),
    pods: createKubeInformer<PodView>({
      ...common,
      resource: 'pods',
      project: podView,
      onChange: (_name, before, after) => attempts.putPod(before, after),
    }),
    judge: createJudge({
      ...deps,
      report: (report) => parts.report(report),
      isCurrent: () => isCurrent(parts),
      isFirst: () => parts.first,
      graceMs: timing.graceMs ?? 2000,
      unreachableMs: timing.unreachableMs ?? 600_000,
      signal: stopping.signal,
    }),
    room,
    stopping,
    images: new Map(),
    report: () => Promise.reject(new AppError('unavailable', 'Nobody listens to reports yet.')),
    held: 0,
    first: false,
  };
  isReady(parts).then(tellRoom, () => undefined);
  return parts;
}

async function allCreated({ attempts }: Parts): Promise<void> {
  await Promise.allSettled([...attempts.all.values()].flatMap(({ creating }) => creating ?? []));
}

function isCurrent({ jobs, pods }: Parts): boolean {
  return jobs.isCurrent() && pods.isCurrent();
}

async function isReady({ jobs, pods }: Parts): Promise<void> {
  await Promise.all([jobs.ready(readyMs), pods.ready(readyMs)]);
}

function reserve(parts: Parts): Reservation | undefined {
  const { deps, attempts, stopping } = parts;
  const { slots, maxPending = 50 } = deps;
  // What is not known to be current may hide that all room is taken.
  if (stopping.signal.aborted || !isCurrent(parts)) return undefined;
  if (attempts.used() + parts.held >= slots || attempts.pending() + parts.held >= maxPending)
    return undefined;
  parts.held += 1;
  let isHeld = true;
  return {
    release: () => {
      if (!isHeld) return;
      isHeld = false;
      parts.held -= 1;
      for (const listener of parts.room) listener();
    },
  };
}

async function start(
  parts: Parts,
  plan: AttemptPlan,
  reservation: Reservation,
  run: Run | undefined,
): Promise<void> {
  const { deps, attempts, stopping } = parts;
  if (stopping.signal.aborted) throw new AppError('unavailable', 'The executor is stopping.');
  const attempt = attempts.open(plan, plan.definition.name);
  if (attempt.creating === undefined && attempt.job === undefined) {
    attempt.known = true;
    attempt.startedAt = deps.clock.monotonic();
    attempts.account(attempt);
    attempt.creating = create(parts, plan, run).finally(() => {
      attempt.creating = undefined;
    });
  }
  try {
    await attempt.creating;
  } catch (error) {
    if (isJobSeen(attempt)) {
      // Only the answer was lost.
      reservation.release();
      return;
    }
    attempt.startedAt = undefined;
    if (!isAppError(error) || error.retry === 'later') {
      attempts.forget(attempt);
      throw error;
    }
    // The cluster will say the same again: the run has failed, with the cluster's words.
    const failure = { code: 'not_started', message: error.message };
    attempt.verdict = { result: 'failed', script_started: false, outputs: [], failure };
    attempts.account(attempt);
    parts.judge.look(attempt);
  }
  reservation.release();
}

/** Asked after a wait, in which it may have come. */
function isJobSeen({ job }: KubeAttempt): boolean {
  return job !== undefined;
}

async function create(parts: Parts, plan: AttemptPlan, run: Run | undefined): Promise<void> {
  const { deps } = parts;
  const subject = { kind: 'attempt', runId: plan.run_id, attempt: plan.attempt } as const;
  // The Job's own deadline begins when the cluster gets to it; an hour more is for that.
  const expiresAt = deps.clock.now() + (deadlineSeconds(plan, deps.settings) + 3600) * 1000;
  const token = podToken(deps.tokenKey.reveal(), subject, expiresAt);
  const image = await factsOf(parts, plan);
  // A name that is taken is this attempt's, made by another replica or by a request whose answer got lost.
  await deps.connection.create('jobs', jobManifest({ plan, run, token, image }, deps.settings));
}

async function factsOf({ deps, images }: Parts, plan: AttemptPlan): Promise<ImageFacts | undefined> {
  const { image, image_pull_secrets: secrets = [] } = plan.definition;
  try {
    const facts = await deps.imageFacts?.(image, secrets);
    if (images.size >= maxImages) images.clear();
    images.set(image, facts);
    return facts;
  } catch (error) {
    const fields = { err: messageOf(error), image, trace_id: traceIdOf(plan.traceparent) };
    deps.log.debug(fields, 'nothing is known of an image');
    return undefined;
  }
}

async function cancel(parts: Parts, ref: AttemptRef, reason: string): Promise<void> {
  const { attempts, judge } = parts;
  const attempt = attempts.open(ref, '');
  attempt.cancelReason ??= reason;
  await attempt.creating?.catch(() => undefined);
  attempt.startedAt = undefined;
  attempts.account(attempt);
  await remove(parts, attempt);
  judge.look(attempt);
}

async function remove({ deps }: Parts, { ref, pods }: KubeAttempt): Promise<void> {
  const { connection, settings } = deps;
  await connection.remove('jobs', jobName(settings.instance, ref));
  // With the Job goes its pod, in the pod's own time; this is quicker.
  const alive = [...pods.values()].filter((pod) => !hasEnded(pod));
  await Promise.all(alive.map(({ name }) => connection.remove('pods', name, cancelGraceSeconds)));
}

/** What no event brings about: waits that end, Jobs that were never seen, what nobody wants any more. */
async function look(parts: Parts): Promise<void> {
  const { deps, attempts, judge } = parts;
  const { timing = {}, clock, leases = createSoleLeases() } = deps;
  parts.first = await leases.hold('scheduler-kube', 4 * (timing.tickMs ?? 5000));
  const patience = {
    ...deps,
    remove: (attempt: KubeAttempt) => remove(parts, attempt),
    settle: (attempt: KubeAttempt) => judge.look(attempt),
    pendingMs: timing.pendingMs ?? 600_000,
    orphanMs: timing.orphanMs ?? 60_000,
  };
  for (const attempt of attempts.all.values()) {
    const { startedAt, creating } = attempt;
    if (startedAt !== undefined && creating === undefined && clock.monotonic() - startedAt > unseenMs) {
      attempt.startedAt = undefined;
      attempts.account(attempt);
    }
    judge.look(attempt);
    const isGone = attempt.job === undefined && attempt.pods.size === 0 && attempt.startedAt === undefined;
    if (isGone && attempt.settled) attempts.forget(attempt);
    else if (parts.first && isCurrent(parts)) {
      await attend(patience, attempt).catch((error: unknown) => {
        // One must not keep the others from being looked at; its own next look comes soon.
        deps.log.warn({ err: error, ...attempt.ref }, 'attempt was not looked after');
      });
    }
  }
}

async function* carriedRuns({ connection, settings }: KubeExecutorDeps): AsyncGenerator<Run> {
  const read = createRunReader();
  const labels = podSelector(settings.instance, 'attempt');
  let next: string | undefined;
  do {
    const page = await connection.list('jobs', {
      labels,
      limit: 100,
      ...(next === undefined ? {} : { next }),
    });
    for (const object of page.items) {
      const run = read(object);
      if (run !== undefined) yield run;
    }
    ({ next } = page);
  } while (next !== undefined);
}
