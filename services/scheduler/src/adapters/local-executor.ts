import { join } from 'node:path';
import type { AttemptOutcome, AttemptPlan, AttemptRef, AttemptReport, Run } from '@sluice/shared/contracts';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLogs } from '@sluice/shared/stores';
import { traceIdOf, type Logger } from '@sluice/shared/telemetry';
import { ignoredBy, type LocalKind } from '../domain/ignored.ts';
import { plannedStop } from '../domain/next-step.ts';
import { clampTo } from '../domain/requirements.ts';
import type { Executor, PerformAttempt, Requirements, Reservation } from '../ports.ts';

export interface LocalExecutorDeps {
  /** What `perform` has scripts run as. */
  readonly kind: LocalKind;
  readonly perform: PerformAttempt;
  readonly logs: RunLogs;
  /** Folder that holds one work folder an attempt. */
  readonly workRoot: string;
  /** What may be in use at the same time: the machine's cores and memory. */
  readonly capacity: Requirements;
  readonly slots: number;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Attempt {
  readonly ref: AttemptRef;
  readonly run: Run | undefined;
  readonly abort: AbortController;
  readonly done: Promise<void>;
  cancelReason: string | undefined;
}

interface State {
  readonly running: Map<string, Attempt>;
  readonly free: { cpuMillis: number; memoryBytes: number; slots: number };
  report: (report: AttemptReport) => Promise<void>;
  readonly room: (() => void)[];
  stopping: boolean;
}

/** An executor that knows what it has given away. */
export interface LocalExecutor extends Executor {
  /** What the reservations that are held declare together. */
  reserved(): Requirements;
}

/**
 * Performs attempts on this machine, the supervisor in this process. Declared CPU and memory bound how many run side by side; only containers hold a
 * script to them, and keep it from what else this user may do.
 */
export function createLocalExecutor(deps: LocalExecutorDeps): LocalExecutor {
  const state: State = {
    running: new Map(),
    free: { ...deps.capacity, slots: deps.slots },
    report: () => Promise.reject(new AppError('unavailable', 'Nobody listens to reports yet.')),
    room: [],
    stopping: false,
  };
  return {
    kind: deps.kind,
    shared: false,
    slots: deps.slots,
    reserved: () => ({
      cpuMillis: deps.capacity.cpuMillis - state.free.cpuMillis,
      memoryBytes: deps.capacity.memoryBytes - state.free.memoryBytes,
    }),
    reserve: (wanted) => Promise.resolve(reserve(state, clampTo(deps.capacity, wanted))),
    start: (plan, reservation, run) => {
      const key = keyOf(plan);
      if (state.stopping) return Promise.reject(new AppError('unavailable', 'The executor is stopping.'));
      if (state.running.has(key)) reservation.release();
      else begin(deps, state, { plan, reservation, run });
      return Promise.resolve();
    },
    cancel: (ref, reason) => {
      const attempt = state.running.get(keyOf(ref));
      if (attempt !== undefined) {
        attempt.cancelReason ??= reason;
        attempt.abort.abort(new AppError('cancelled', reason));
      }
      return Promise.resolve();
    },
    attempts: () => Promise.resolve([...state.running.values()].map((attempt) => attempt.ref)),
    carriedRuns: async function* carried() {
      for (const { run } of state.running.values()) if (run !== undefined) yield run;
    },
    onReport: (listener) => {
      state.report = listener;
    },
    onRoom: (listener) => {
      state.room.push(listener);
    },
    ignores: (definition) => ignoredBy(deps.kind, definition),
    stop: (timeoutMs) => stop(deps, state, timeoutMs),
  };
}

function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

function reserve(state: State, wanted: Requirements): Reservation | undefined {
  const { free } = state;
  if (state.stopping || free.slots < 1) return undefined;
  if (free.cpuMillis < wanted.cpuMillis || free.memoryBytes < wanted.memoryBytes) return undefined;
  free.slots -= 1;
  free.cpuMillis -= wanted.cpuMillis;
  free.memoryBytes -= wanted.memoryBytes;
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      free.slots += 1;
      free.cpuMillis += wanted.cpuMillis;
      free.memoryBytes += wanted.memoryBytes;
      for (const listener of state.room) listener();
    },
  };
}

function begin(
  deps: LocalExecutorDeps,
  state: State,
  { plan, reservation, run }: { plan: AttemptPlan; reservation: Reservation; run: Run | undefined },
): void {
  const ref = { run_id: plan.run_id, attempt: plan.attempt };
  const abort = new AbortController();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const attempt: Attempt = { ref, run, abort, done, cancelReason: undefined };
  state.running.set(keyOf(ref), attempt);
  const work = async (): Promise<void> => {
    const outcome = await performSafely(deps, state, plan, attempt);
    await state.report({ kind: 'finished', ...ref, outcome });
  };
  work()
    .catch((error: unknown) => {
      // The audit finds the attempt missing and declares it lost.
      deps.log.error(
        { err: error, ...ref, trace_id: traceIdOf(plan.traceparent) },
        'report of an attempt failed',
      );
    })
    .finally(() => {
      state.running.delete(keyOf(ref));
      reservation.release();
      resolve();
    });
}

async function performSafely(
  deps: LocalExecutorDeps,
  state: State,
  plan: AttemptPlan,
  attempt: Attempt,
): Promise<AttemptOutcome> {
  let started = false;
  const fields = { ...attempt.ref, trace_id: traceIdOf(plan.traceparent) };
  try {
    const output = await deps.logs.open({ service: plan.definition.name, runId: plan.run_id });
    try {
      const outcome = await deps.perform(plan, {
        workDir: join(deps.workRoot, keyOf(attempt.ref)),
        output,
        signal: attempt.abort.signal,
        report: (progress) => {
          if (progress.phase === 'running') started = true;
          state.report({ kind: 'progress', ...attempt.ref, ...progress }).catch((error: unknown) => {
            deps.log.warn({ err: error, ...fields }, 'progress of an attempt was not stored');
          });
        },
      });
      return stoppedByUs(state, attempt, outcome);
    } finally {
      await output.close();
    }
  } catch (error) {
    deps.log.error({ err: error, ...fields }, 'attempt failed in the executor');
    const failure = { code: 'executor_failed', message: `the executor failed: ${messageOf(error)}` };
    return { result: 'lost', script_started: started, outputs: [], failure };
  }
}

/** An attempt that was ended because this process stops was not cancelled by anybody: it runs again after the start. */
function stoppedByUs(state: State, attempt: Attempt, outcome: AttemptOutcome): AttemptOutcome {
  if (outcome.result !== 'cancelled') return outcome;
  if (attempt.cancelReason !== undefined) {
    return { ...outcome, failure: { code: 'cancelled', message: attempt.cancelReason } };
  }
  if (!state.stopping) return outcome;
  const failure = { code: plannedStop, message: 'the server was stopped while the script ran' };
  return { ...outcome, result: 'lost', failure };
}

async function stop(deps: LocalExecutorDeps, state: State, timeoutMs: number): Promise<void> {
  state.stopping = true;
  const all = Promise.allSettled([...state.running.values()].map((attempt) => attempt.done));
  const grace = new AbortController();
  await Promise.race([all, deps.clock.sleep(timeoutMs, grace.signal).catch(() => undefined)]);
  grace.abort();
  for (const attempt of state.running.values()) {
    attempt.abort.abort(new AppError('cancelled', 'the server is stopping'));
  }
  await all;
}
