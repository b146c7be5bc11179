import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunnerPod } from '../domain/runner-pod.ts';
import type { Reservation } from '../ports.ts';
import { drainRunner, runnerHealth, runnerUrl } from './runner-http.ts';

/** One runner that this process looks after. */
export interface KubeRunner {
  readonly id: string;
  /** Name of its pod. */
  readonly pod: string;
  /** What opens its routes. */
  readonly token: string;
  readonly reservation: Reservation;
  readonly started: Promise<{ readonly url: string }>;
  /** Aborted when it is not wanted any more. */
  readonly stopping: AbortController;
  /** Aborted when another process looks after it. */
  readonly leaving: AbortController;
  /** Set once it takes calls. */
  url: string | undefined;
  /** As it last said. */
  busy: boolean;
  /** Set by the first that ends it. */
  ended: Promise<void> | undefined;
  /** Its pod has changed. */
  wake: () => void;
}

interface Deps {
  readonly clock: Clock;
}

type Pods = ReadonlyMap<string, RunnerPod>;

/** Milliseconds after which a pod that was made and is not seen is taken for gone. */
const unseenMs = 15_000;

/**
 * Waits until a runner takes calls.
 * @returns its address
 * @throws AppError with what keeps it from that, `conflict` where it takes none any more, the reason of its signal
 */
export async function untilReady(
  { clock }: Deps,
  pods: Pods,
  runner: KubeRunner,
  limits: { readonly startMs?: number; readonly nodeMs?: number; readonly port: number },
): Promise<string> {
  const { startMs = 300_000, nodeMs = 60_000, port } = limits;
  const { signal } = runner.stopping;
  const begun = clock.monotonic();
  let seen = false;
  for (;;) {
    signal.throwIfAborted();
    const pod = pods.get(runner.pod);
    const waited = clock.monotonic() - begun;
    if (pod !== undefined) seen = true;
    refuseEnded(pod, seen || waited > unseenMs);
    refuseLong(pod, waited, { startMs, nodeMs });
    if (pod?.ip !== undefined) {
      const url = runnerUrl(pod.ip, port, runner.id);
      const health = await runnerHealth(url, runner.token, signal);
      signal.throwIfAborted();
      if (health?.state === 'ready') return url;
      if (health !== undefined) throw takesNone();
    }
    await changed(clock, runner, pod?.ip === undefined ? 1000 : 200);
  }
}

function refuseEnded(pod: RunnerPod | undefined, isKnown: boolean): void {
  if (pod?.ended !== undefined) throw new AppError('unavailable', pod.ended);
  if (pod?.leaving === true) throw takesNone();
  if (pod === undefined && isKnown) throw new AppError('unavailable', "The runner's pod was deleted.");
}

function refuseLong(
  pod: RunnerPod | undefined,
  waited: number,
  { startMs, nodeMs }: { readonly startMs: number; readonly nodeMs: number },
): void {
  const { lasts, sentence = 'The runner does not answer.' } = pod?.waiting ?? {};
  if (lasts === 'long' || waited > startMs || (lasts === 'node' && waited > nodeMs)) {
    throw new AppError('unavailable', sentence);
  }
}

function takesNone(): AppError {
  return new AppError('conflict', 'The runner takes no calls any more.');
}

/** Lets the call in hand end within the time, and takes no other. @returns whether none is in hand */
export async function drained(
  { clock }: Deps,
  pods: Pods,
  runner: KubeRunner,
  drainMs: number,
): Promise<boolean> {
  const { url, token } = runner;
  const { signal } = runner.leaving;
  if (url === undefined) return true;
  const until = clock.monotonic() + drainMs;
  if (!(await drainRunner(url, token, signal))) return true;
  // Twice: a runner is free a moment before its answer is sent.
  for (let idle = 0; idle < 2;) {
    const pod = pods.get(runner.pod);
    if (pod === undefined || pod.leaving || pod.ended !== undefined || signal.aborted) return true;
    const health = await runnerHealth(url, token, signal);
    idle = health?.busy === true ? 0 : idle + 1;
    const left = until - clock.monotonic();
    if (left <= 0) return health?.busy !== true;
    if (idle < 2) await changed(clock, runner, Math.min(left, 250));
  }
  return true;
}

/** Whether its pod is gone within the time. */
export async function gone(
  { clock }: Deps,
  pods: Pods,
  runner: KubeRunner,
  withinMs: number,
): Promise<boolean> {
  const until = clock.monotonic() + withinMs;
  while (pods.has(runner.pod) && !runner.leaving.signal.aborted) {
    const left = until - clock.monotonic();
    if (left <= 0) return false;
    await changed(clock, runner, left);
  }
  return true;
}

/** Waits until its pod changes, or for some time. */
async function changed(clock: Clock, runner: KubeRunner, ms: number): Promise<void> {
  const timer = new AbortController();
  runner.wake = () => {
    timer.abort();
  };
  await clock.sleep(ms, AbortSignal.any([timer.signal, runner.leaving.signal])).catch(() => undefined);
}
