import type { Secret } from '@sluice/shared/config';
import { podToken, runnerToken, type RunnerPlan } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { createPeriodic, type Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { podSelector, runnerPodName } from '../domain/pod-labels.ts';
import type { ImageFacts } from '../domain/pod-security.ts';
import type { PodSettings } from '../domain/pod-spec.ts';
import { runnerPod, runnerPodView, type RunnerPod } from '../domain/runner-pod.ts';
import type { Reservation, RunnerHost } from '../ports.ts';
import type { KubeConnection } from './kube-connection.ts';
import { createKubeInformer, type KubeInformer } from './kube-informer.ts';
import { drained, gone, untilReady, type KubeRunner } from './kube-runner-waits.ts';
import { runnerHealth, runnerUrl } from './runner-http.ts';

export interface KubeRunnersDeps {
  readonly connection: Pick<KubeConnection, 'create' | 'remove' | 'list' | 'watch'>;
  readonly settings: PodSettings;
  /** Runners over all replicas, at most. */
  readonly limit: number;
  /** What tokens of runners and of their pods are made with. */
  readonly key: Secret;
  /** What is known of an image before it is pulled. @default nothing */
  readonly imageFacts?: (image: string, pullSecrets: readonly string[]) => Promise<ImageFacts | undefined>;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
  readonly timing?: KubeRunnersTiming;
}

/** Milliseconds. */
export interface KubeRunnersTiming {
  /** That a start may take, its image included. @default 300000 */
  readonly startMs?: number;
  /** That a start waits for a node. @default 60000 */
  readonly nodeMs?: number;
  /** Between two looks at whether runners are busy. @default 2000 */
  readonly healthMs?: number;
}

export interface KubeRunnersState {
  readonly deps: KubeRunnersDeps;
  /** Those that this process looks after, by the name of their pod. */
  readonly runners: Map<string, KubeRunner>;
  /** While this process looks after runners. */
  watching: { readonly pods: KubeInformer<RunnerPod>; stop(): Promise<void> } | undefined;
  closed: boolean;
  exit: (runnerId: string, reason: string, inOrder?: boolean) => void;
}

const port = 8081;
const readyMs = 30_000;
/** Milliseconds that a pod's token is good for: as long as a runner may live. */
const tokenMs = 365 * 86_400_000;
/** Runners that are asked at the same time whether they are busy. */
const askedAtOnce = 8;
/** Seconds that a pod gets to end after its call has. */
const graceSeconds = 5;

/**
 * Warm runners as bare pods, whose routes are in their supervisors. The cluster keeps them: they outlive this process, and `runners` names those of all
 * replicas. Room is the cluster's, too: a reservation is held until the pod has its node and works, and then given back. Ended by themselves when no scheduler answers them for long.
 */
export function createKubeRunners(deps: KubeRunnersDeps): RunnerHost {
  const state: KubeRunnersState = {
    deps,
    runners: new Map(),
    watching: undefined,
    closed: false,
    exit: () => undefined,
  };
  const byId = (runnerId: string): KubeRunner | undefined =>
    state.runners.get(runnerPodName(deps.settings.instance, runnerId));
  return {
    kind: 'kubernetes',
    limit: deps.limit,
    shared: true,
    start: (plan, reservation) => {
      const known = byId(plan.runner_id);
      return known === undefined ? begin(state, plan.runner_id, reservation, plan) : join(known, reservation);
    },
    adopt: (runnerId, reservation) => {
      const known = byId(runnerId);
      return known === undefined ? begin(state, runnerId, reservation) : join(known, reservation);
    },
    stop: async (runnerId, drainMs) => {
      const runner = byId(runnerId) ?? (await foreign(state, runnerId));
      if (runner !== undefined) await end(state, runner, drainMs);
    },
    runners: async () => {
      const pods = await podsOf(state);
      return [...pods.values()]
        .filter((pod) => isThere(pod) && state.runners.get(pod.name)?.ended === undefined)
        .map(({ runnerId, serviceUid, serviceVersion }) => ({
          runner_id: runnerId,
          service_uid: serviceUid,
          service_version: serviceVersion,
        }));
    },
    isBusy: (runnerId) => byId(runnerId)?.busy === true,
    onExit: (listener) => {
      state.exit = listener;
    },
    leave: () => leave(state),
    close: async (drainMs) => {
      state.closed = true;
      await Promise.allSettled([...state.runners.values()].map((runner) => end(state, runner, drainMs)));
      await leave(state);
    },
  };
}

function isThere(pod: RunnerPod): boolean {
  return !pod.leaving && pod.ended === undefined;
}

/** The pods of all runners, as far as they are known; follows them from the first time on. */
async function podsOf(state: KubeRunnersState): Promise<ReadonlyMap<string, RunnerPod>> {
  const { connection, settings, clock, random, log, timing = {} } = state.deps;
  if (state.watching === undefined) {
    const pods = createKubeInformer<RunnerPod>({
      connection,
      resource: 'pods',
      labels: podSelector(settings.instance, 'runner'),
      project: runnerPodView,
      onChange: (name, _before, after) => {
        podChanged(state, name, after);
      },
      clock,
      random,
      log,
    });
    const health = createPeriodic(
      { name: 'runner-health', everyMs: timing.healthMs ?? 2000, clock, log },
      () => askAll(state),
    );
    state.watching = { pods, stop: async () => void (await Promise.all([pods.stop(), health.stop()])) };
  }
  const { pods } = state.watching;
  await pods.ready(readyMs);
  return pods.objects;
}

function podChanged(state: KubeRunnersState, name: string, pod: RunnerPod | undefined): void {
  const runner = state.runners.get(name);
  if (runner === undefined) {
    // Nobody's any more: whoever it belonged to has told what there was to tell.
    if (pod?.ended !== undefined && !pod.leaving) removeLater(state, name);
    return;
  }
  runner.wake();
  if (runner.url === undefined || runner.ended !== undefined || (pod !== undefined && isThere(pod))) return;
  state.runners.delete(name);
  runner.reservation.release();
  if (pod?.ended !== undefined) removeLater(state, name);
  state.exit(runner.id, pod?.ended ?? 'Its pod was deleted.', pod?.endedInOrder ?? false);
}

function removeLater({ deps }: KubeRunnersState, name: string): void {
  deps.connection.remove('pods', name).catch((error: unknown) => {
    deps.log.warn({ err: error, pod: name }, 'pod of an ended runner is removed later');
  });
}

function join(known: KubeRunner, reservation: Reservation): KubeRunner['started'] {
  if (known.reservation !== reservation) reservation.release();
  return known.started;
}

/** @param plan of a runner that is to be made; without, its pod is there */
function begin(
  state: KubeRunnersState,
  id: string,
  reservation: Reservation,
  plan?: RunnerPlan,
): KubeRunner['started'] {
  const { deps } = state;
  if (state.closed) return Promise.reject(new AppError('unavailable', 'The server is stopping.'));
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly url: string }>();
  const runner = newRunner(deps, id, reservation, promise);
  state.runners.set(runner.pod, runner);
  (plan === undefined ? find(state, runner) : make(state, runner, plan))
    .then((pods) => untilReady(deps, pods, runner, { ...deps.timing, port }))
    .then((url) => {
      runner.url = url;
      // From now on its room is what the cluster has given to its pod.
      reservation.release();
      resolve({ url });
    })
    .catch((error: unknown) => {
      reject(error);
      giveUp(state, runner, error);
    });
  return promise;
}

function newRunner(
  { settings, key }: KubeRunnersDeps,
  id: string,
  reservation: Reservation,
  started: KubeRunner['started'],
): KubeRunner {
  return {
    id,
    pod: runnerPodName(settings.instance, id),
    token: runnerToken(key.reveal(), id),
    reservation,
    started,
    stopping: new AbortController(),
    leaving: new AbortController(),
    url: undefined,
    busy: false,
    ended: undefined,
    wake: () => undefined,
  };
}

/** A start that failed leaves nothing behind, unless another process looks after it now, or it only wants to be stopped. */
function giveUp(state: KubeRunnersState, runner: KubeRunner, error: unknown): void {
  if (runner.leaving.signal.aborted || runner.ended !== undefined) return;
  const isLeft = error instanceof AppError && (error.code === 'conflict' || error.code === 'not_found');
  if (isLeft) {
    runner.reservation.release();
    state.runners.delete(runner.pod);
    return;
  }
  end(state, runner, 0).catch((failure: unknown) => {
    state.deps.log.warn({ err: failure, runner: runner.id }, 'runner that did not start is removed later');
  });
}

async function find(state: KubeRunnersState, runner: KubeRunner): Promise<ReadonlyMap<string, RunnerPod>> {
  const pods = await podsOf(state);
  const pod = pods.get(runner.pod);
  if (pod === undefined || !isThere(pod)) throw new AppError('not_found', `There is no runner ${runner.id}.`);
  return pods;
}

async function make(
  state: KubeRunnersState,
  runner: KubeRunner,
  plan: RunnerPlan,
): Promise<ReadonlyMap<string, RunnerPod>> {
  const { deps } = state;
  const pods = await podsOf(state);
  const names = new Set([...pods.values()].filter((pod) => isThere(pod)).map(({ name }) => name));
  for (const name of state.runners.keys()) names.add(name);
  if (names.size > deps.limit) {
    throw new AppError('limit_reached', `There are ${deps.limit} runners already.`);
  }
  const { image: name, image_pull_secrets: secrets = [] } = plan.definition;
  // What cannot be told of an image here is told by the pod that pulls it.
  const image = await deps.imageFacts?.(name, secrets).catch(() => undefined);
  runner.stopping.signal.throwIfAborted();
  const { runner_id: runnerId, service_uid: serviceUid, service_version: serviceVersion } = plan;
  const subject = { kind: 'runner', runnerId, serviceUid, serviceVersion } as const;
  const token = podToken(deps.key.reveal(), subject, deps.clock.now() + tokenMs);
  // A name that is taken is this runner's, by a request whose answer got lost.
  await deps.connection.create('pods', runnerPod(plan, { token, image, port }, deps.settings));
  return pods;
}

/** A runner that this process does not look after, to stop it. */
async function foreign(state: KubeRunnersState, runnerId: string): Promise<KubeRunner | undefined> {
  const name = runnerPodName(state.deps.settings.instance, runnerId);
  const pod = (await podsOf(state)).get(name);
  if (pod === undefined) return undefined;
  const started = Promise.reject(new AppError('conflict', 'The runner is being stopped.'));
  started.catch(() => undefined);
  const runner = newRunner(state.deps, runnerId, { release: () => undefined }, started);
  if (pod.ip !== undefined) runner.url = runnerUrl(pod.ip, port, runnerId);
  const known = state.runners.get(name);
  if (known === undefined) state.runners.set(name, runner);
  return known ?? runner;
}

function end(state: KubeRunnersState, runner: KubeRunner, drainMs: number): Promise<void> {
  runner.ended ??= endPod(state, runner, drainMs).finally(() => {
    state.runners.delete(runner.pod);
    runner.reservation.release();
  });
  return runner.ended;
}

async function endPod(state: KubeRunnersState, runner: KubeRunner, drainMs: number): Promise<void> {
  const { deps } = state;
  runner.stopping.abort(new AppError('cancelled', 'The runner is not wanted any more.'));
  runner.wake();
  // A pod that is just being made would be left behind.
  await runner.started.catch(() => undefined);
  const pods = await podsOf(state);
  const isIdle = await drained(deps, pods, runner, drainMs);
  if (runner.leaving.signal.aborted) return;
  await deps.connection.remove('pods', runner.pod, isIdle ? graceSeconds : 1);
  if (await gone(deps, pods, runner, graceSeconds * 1000 + 20_000)) return;
  // Its node may be away: what is left of it there ends when the node is back.
  await deps.connection.remove('pods', runner.pod, 0);
  await gone(deps, pods, runner, 10_000);
}

async function askAll(state: KubeRunnersState): Promise<void> {
  const waiting = [...state.runners.values()].filter(
    (one) => one.url !== undefined && one.ended === undefined,
  );
  const work = async (): Promise<void> => {
    for (let runner = waiting.pop(); runner !== undefined; runner = waiting.pop()) {
      const health = await runnerHealth(runner.url ?? '', runner.token, runner.leaving.signal);
      if (health !== undefined) runner.busy = health.busy;
    }
  };
  await Promise.all(Array.from({ length: askedAtOnce }, work));
}

async function leave(state: KubeRunnersState): Promise<void> {
  const { watching } = state;
  state.watching = undefined;
  for (const runner of state.runners.values()) {
    runner.leaving.abort(new AppError('cancelled', 'Another process looks after the runner now.'));
    runner.stopping.abort(new AppError('cancelled', 'Another process looks after the runner now.'));
    runner.reservation.release();
    runner.wake();
  }
  state.runners.clear();
  await watching?.stop();
}
