import type { AttemptOutcome, Run, RunState, SluiceOptions } from '@sluice/shared/contracts';

/** Attempts of one run, whatever their reasons: a run whose machine keeps dying before its script starts ends as well. */
export const maxAttempts = 20;
const storeRetries = 5;

/** What becomes of a run when an attempt has ended. */
export type NextStep =
  | {
      readonly kind: 'finish';
      readonly to: Extract<RunState, 'succeeded' | 'failed' | 'cancelled' | 'superseded'>;
      readonly message: string;
      readonly outcome: AttemptOutcome;
    }
  | {
      readonly kind: 'again';
      readonly message: string;
      readonly infraFailures: number;
      readonly scriptFailures: number;
    };

/** An attempt that ended because the scheduler itself was asked to stop: it costs the run nothing. */
export const plannedStop = 'planned_stop';

/** Decides between an end and another attempt (attempts: losing the machine before the script retries freely, after it within `infra_retries`). */
export function nextStep(
  run: Pick<Run, 'attempt' | 'infra_failures' | 'script_failures' | 'cancel_requested_at' | 'timeline'>,
  outcome: AttemptOutcome,
  options: SluiceOptions,
): NextStep {
  if (outcome.result === 'succeeded')
    return finish('succeeded', 'the script ended and its output is stored', outcome);
  if (outcome.result === 'superseded') {
    return finish('superseded', outcome.failure?.message ?? 'the input was replaced by a newer one', outcome);
  }
  if (outcome.result === 'lost' && run.cancel_requested_at !== undefined) {
    // Its pod was told to end, and does not know why.
    const message = wishToCancel(run);
    return finish('cancelled', message, {
      ...outcome,
      result: 'cancelled',
      failure: { code: 'cancelled', message },
    });
  }
  if (outcome.result === 'cancelled' || run.cancel_requested_at !== undefined) {
    return finish('cancelled', outcome.failure?.message ?? 'cancelled', outcome);
  }
  if (run.attempt >= maxAttempts) return giveUp(outcome, `gave up after ${run.attempt} attempts`);
  if (outcome.result === 'lost') return afterLoss(run, outcome, options.infra_retries ?? defaultInfraRetries);
  return afterFailure(run, outcome, options.script_retries ?? 0);
}

/** In the words of whoever asked for it: the ledger notes them with the time. */
function wishToCancel({
  timeline,
  cancel_requested_at: at,
}: Pick<Run, 'timeline' | 'cancel_requested_at'>): string {
  return timeline.find((entry) => entry.at === at)?.message ?? 'cancelled';
}

/** A server that is killed five times in a row must not fail the files it was working on. */
export const defaultInfraRetries = 3;

function afterLoss(
  run: Pick<Run, 'infra_failures' | 'script_failures'>,
  outcome: AttemptOutcome,
  infraRetries: number,
): NextStep {
  const free = !outcome.script_started || outcome.failure?.code === plannedStop;
  const reason = outcome.failure?.message ?? 'the attempt was lost';
  if (!free && run.infra_failures >= infraRetries) {
    return giveUp(outcome, `${reason}; no attempt left (infra_retries is ${infraRetries})`);
  }
  return {
    kind: 'again',
    message: `${reason}; starting again`,
    infraFailures: run.infra_failures + (free ? 0 : 1),
    scriptFailures: run.script_failures,
  };
}

function afterFailure(
  run: Pick<Run, 'attempt' | 'infra_failures' | 'script_failures'>,
  outcome: AttemptOutcome,
  scriptRetries: number,
): NextStep {
  const message = outcome.failure?.message ?? 'failed';
  // A store that was away or a full disk is not the script's doing: it is tried again even where scripts are not.
  if (outcome.retryable === true && run.script_failures < Math.max(scriptRetries, storeRetries)) {
    return again(run, message);
  }
  if (outcome.retryable !== true && run.script_failures < scriptRetries) return again(run, message);
  return finish('failed', message, outcome);
}

function again(run: Pick<Run, 'infra_failures' | 'script_failures'>, message: string): NextStep {
  return {
    kind: 'again',
    message: `${message}; starting again`,
    infraFailures: run.infra_failures,
    scriptFailures: run.script_failures + 1,
  };
}

function giveUp(outcome: AttemptOutcome, message: string): NextStep {
  const failure = { code: outcome.failure?.code ?? outcome.result, message };
  return finish('failed', message, { ...outcome, failure });
}

function finish(
  to: Extract<RunState, 'succeeded' | 'failed' | 'cancelled' | 'superseded'>,
  message: string,
  outcome: AttemptOutcome,
): NextStep {
  return { kind: 'finish', to, message, outcome };
}

/**
 * Milliseconds before the next attempt: none after a first loss, then doubling from one second to a minute, so that a script that takes
 * the machine down does not do it in a tight loop.
 */
export function retryDelayMs(failures: number): number {
  return failures <= 1 ? 0 : Math.min(60_000, 1000 * 2 ** (failures - 2));
}
