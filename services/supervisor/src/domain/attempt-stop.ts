import type { AttemptOutcome } from '@sluice/shared/contracts';
import { isAppError, messageOf } from '@sluice/shared/errors';

/** Words for programs in an attempt's `failure.code`. */
export type FailureCode =
  | 'script_failed'
  | 'script_killed'
  | 'script_missing'
  | 'timed_out'
  | 'cancelled'
  | 'superseded'
  | 'event_invalid'
  | 'event_missing'
  | 'event_too_large'
  | 'input_missing'
  | 'input_forbidden'
  | 'unsupported_provider'
  | 'environment_invalid'
  | 'environment_too_large'
  | 'output_failed'
  | 'too_many_outputs'
  | 'output_too_large'
  | 'answer_too_large'
  | 'store_unavailable'
  | 'storage_full'
  | 'script_not_started'
  | 'script_lost'
  | 'out_of_memory'
  | 'image_not_found'
  | 'image_pull_failed'
  | 'image_unusable'
  | 'container_refused'
  | 'internal_error';

export interface StopOptions {
  readonly result?: 'failed' | 'cancelled' | 'superseded' | 'lost';
  readonly retryable?: boolean;
  readonly exitCode?: number;
  readonly cause?: unknown;
}

/** The attempt is over, and not well: thrown by its steps, turned into the outcome in one place. */
export class AttemptStop extends Error {
  readonly code: FailureCode;
  readonly result: 'failed' | 'cancelled' | 'superseded' | 'lost';
  readonly retryable: boolean;
  readonly exitCode: number | undefined;

  constructor(code: FailureCode, message: string, options: StopOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AttemptStop';
    this.code = code;
    this.result = options.result ?? 'failed';
    this.retryable = options.retryable ?? false;
    this.exitCode = options.exitCode;
  }
}

/**
 * What a store's failure means for the attempt: with verdict `later` it may be tried again, else it ends with `fallback`.
 * @param what the thing that was being done, for the sentence: `the input in/a.txt could not be read`
 */
export function stopForStore(error: unknown, fallback: FailureCode, what: string): unknown {
  if (!isAppError(error)) return error;
  const message = `${what}: ${messageOf(error)}`;
  if (error.code === 'storage_full') {
    return new AttemptStop('storage_full', message, { retryable: true, cause: error });
  }
  if (error.retry === 'later') {
    return new AttemptStop('store_unavailable', message, { retryable: true, cause: error });
  }
  return new AttemptStop(fallback, message, { cause: error });
}

/** What of an outcome is known when an attempt stops early. */
export interface OutcomeSoFar {
  readonly scriptStarted: boolean;
  readonly exitCode: number | undefined;
  readonly cancelled: boolean;
}

/**
 * The outcome of an attempt that was ended by an error. A cancelled attempt fails in all sorts of ways, so the wish to
 * cancel goes before them. What is not an `AttemptStop` is a fault of the machine or a bug of ours: worth another attempt.
 */
export function outcomeOfError(error: unknown, so: OutcomeSoFar): AttemptOutcome {
  const base = { script_started: so.scriptStarted, outputs: [] };
  const stop = error instanceof AttemptStop ? error : undefined;
  const exitCode = stop?.exitCode ?? so.exitCode;
  const code = exitCode === undefined ? {} : { exit_code: exitCode };
  if (so.cancelled || stop?.result === 'cancelled') {
    return { ...base, ...code, result: 'cancelled', failure: { code: 'cancelled', message: 'cancelled' } };
  }
  if (stop === undefined) {
    const failure = { code: 'internal_error', message: `the attempt broke: ${messageOf(error)}` };
    return { ...base, ...code, result: 'failed', failure, retryable: true };
  }
  const retryable = stop.retryable ? { retryable: true } : {};
  const failure = { code: stop.code, message: stop.message };
  return { ...base, ...code, ...retryable, result: stop.result, failure };
}
