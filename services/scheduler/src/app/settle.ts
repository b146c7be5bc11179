import {
  activeStates,
  isFinal,
  runStartMessage,
  type AttemptOutcome,
  type AttemptRef,
  type AttemptReport,
  type Run,
  type SluiceOptions,
} from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger, Transition } from '@sluice/shared/stores';
import { attemptSpan, traceIdOf, type Logger, type Tracer } from '@sluice/shared/telemetry';
import { nextStep, retryDelayMs } from '../domain/next-step.ts';

export interface SettleDeps {
  readonly ledger: RunLedger;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Options of the definition's version that the run was started with. */
  readonly optionsOf: (run: Run) => Promise<SluiceOptions>;
  /** @param before the run while the attempt was under way */
  readonly onFinished: (run: Run, before: Run, outcome: AttemptOutcome) => void;
}

/** Brings an executor's reports into the ledger; each is applied once, in order, whatever is repeated. */
export interface Settler {
  report(report: AttemptReport): Promise<void>;
  /**
   * The same as `report`, tried once: for reports of somebody who will say it again.
   * @returns whether the ledger still wants the attempt, or has just ended it
   * @throws AppError `unavailable`
   */
  reportOnce(report: AttemptReport): Promise<boolean>;
  /**
   * Ends an attempt with an outcome that no executor reported; tried once.
   * @throws AppError `unavailable`
   */
  finish(ref: AttemptRef, outcome: AttemptOutcome): Promise<void>;
  /** Resolves when nothing is being written. */
  idle(): Promise<void>;
}

export function createSettler(deps: SettleDeps): Settler {
  // `finished` must not overtake `running` of the same attempt, so that reports of one attempt form a chain.
  const chains = new Map<string, Promise<unknown>>();

  const enqueue = <T>(ref: AttemptRef, work: () => Promise<T>): Promise<T> => {
    const key = `${ref.run_id}.${ref.attempt}`;
    const before = chains.get(key) ?? Promise.resolve();
    const next = before.then(work, work);
    chains.set(key, next);
    const forget = (): void => {
      if (chains.get(key) === next) chains.delete(key);
    };
    next.then(forget, forget);
    return next;
  };

  return {
    report: (report) =>
      enqueue(report, async () => {
        if (report.kind === 'finished') await applyOutcome(deps, report, report.outcome);
        else if (report.phase === 'running') await markRunning(deps, report, report.message);
      }),
    // Not in the chain: whoever says it waits for the answer before it says more, and a server that hangs must not hold up what is said again.
    reportOnce: async (report) => {
      if (report.kind === 'finished') return applyOnce(deps, report, report.outcome);
      return report.phase === 'running' ? markRunning(deps, report, report.message) : true;
    },
    finish: async (ref, outcome) => {
      await enqueue(ref, () => applyOnce(deps, ref, outcome));
    },
    idle: async () => {
      await Promise.allSettled(chains.values());
    },
  };
}

/** False where the ledger wants the attempt no more. */
async function markRunning(deps: SettleDeps, ref: AttemptRef, message: string | undefined): Promise<boolean> {
  const change = await deps.ledger.transition({
    id: ref.run_id,
    from: ['starting'],
    attempt: ref.attempt,
    to: 'running',
    ...(message === undefined ? {} : { message }),
  });
  return change.applied || (change.run?.state === 'running' && change.run.attempt === ref.attempt);
}

async function applyOutcome(deps: SettleDeps, ref: AttemptRef, outcome: AttemptOutcome): Promise<void> {
  for (;;) {
    try {
      await applyOnce(deps, ref, outcome);
      return;
    } catch (error) {
      // The outcome exists only here until the ledger has it: nothing else is worth doing meanwhile.
      if (!isAppError(error) || error.retry !== 'later') throw error;
      deps.log.warn({ err: error, run_id: ref.run_id }, 'outcome not stored yet, trying again');
      await deps.clock.sleep(1000);
    }
  }
}

/** False where the attempt had ended before. */
async function applyOnce(deps: SettleDeps, ref: AttemptRef, outcome: AttemptOutcome): Promise<boolean> {
  const run = await deps.ledger.get(ref.run_id);
  if (run === undefined || run.attempt !== ref.attempt || isFinal(run.state)) return false;
  const result = await deps.ledger.transition(
    changeFor(run, outcome, await deps.optionsOf(run), deps.clock.now()),
  );
  if (!result.applied) return false;
  attemptSpan(deps.tracer, run, outcome);
  deps.onFinished(result.run, run, outcome);
  deps.log.info(
    {
      run_id: run.id,
      trace_id: traceIdOf(run.traceparent),
      service: run.service,
      attempt: run.attempt,
      state: result.run.state,
      exit_code: outcome.exit_code,
      failure: outcome.failure?.code,
    },
    'attempt ended',
  );
  return true;
}

/** The ledger's change for an attempt's outcome. */
export function changeFor(
  run: Run,
  outcome: AttemptOutcome,
  options: SluiceOptions,
  now: number,
): Transition {
  const step = nextStep(run, outcome, options);
  const base = { id: run.id, from: activeStates, attempt: run.attempt, message: step.message };
  if (step.kind === 'again') {
    const attempt = run.attempt + 1;
    // By attempts too, since those that are lost before their script count as no failure: without a pause, all of them would be used up while a machine that is short of processes recovers.
    const delay = retryDelayMs(Math.max(run.attempt, step.infraFailures + step.scriptFailures));
    const notBefore = delay === 0 ? undefined : now + delay;
    return {
      ...base,
      to: 'queued',
      set: { attempt, infra_failures: step.infraFailures, script_failures: step.scriptFailures },
      publish: [runStartMessage({ ...run, attempt }, notBefore)],
    };
  }
  const { outcome: last } = step;
  return {
    ...base,
    to: step.to,
    set: {
      ...(last.exit_code === undefined ? {} : { exit_code: last.exit_code }),
      ...(last.failure === undefined ? {} : { failure: last.failure }),
      ...(last.outputs.length === 0 ? {} : { outputs: last.outputs }),
      ...(last.outputs_omitted === undefined ? {} : { outputs_omitted: last.outputs_omitted }),
    },
  };
}
