import type { AttemptOutcome, RunnerResult } from '@sluice/shared/contracts';
import { answersCrowded } from './answer-memory.ts';
import { responseBody, type ResponseFile } from './response.ts';

/** What a call is answered with. */
export interface CallAnswer {
  readonly status: number;
  readonly result: RunnerResult;
  readonly body: Uint8Array;
  /** Seconds after which another call may do better. */
  readonly retryAfterSeconds?: number;
}

export interface CallEnd {
  readonly outcome: AttemptOutcome;
  readonly unknownEvent: boolean;
  readonly files: readonly ResponseFile[];
  /** What the script printed, as far as it was kept. */
  readonly output: Uint8Array;
  /** Bytes it printed beyond. */
  readonly dropped: number;
  /** There was no memory for the answer: output and files are left out. */
  readonly crowded: boolean;
  /** Bytes an answer may have. */
  readonly limit: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

/**
 * The answer in the words of OSCAR's watchdog (OSCAR §5.3): 200 with the result, 500 with `exit status N` and what the script printed, 408 after a
 * time-out. 503 where the script is not to blame and another call may do better.
 */
export function callAnswer(end: CallEnd): CallAnswer {
  const { outcome } = end;
  const code = outcome.failure?.code;
  if (outcome.result === 'succeeded') return success(end);
  if (code === 'timed_out') return textAnswer(408, 'timed_out', 'Killed process.');
  // Whoever cancelled by going away does not see it: this is for a runner that was stopped.
  if (outcome.result === 'cancelled') return unavailable('the runner was stopped during the call');
  if (code === 'internal_error') return unavailable('the runner failed; its log says why');
  if (outcome.result === 'lost' || outcome.retryable === true) {
    return unavailable(outcome.failure?.message ?? 'the runner failed');
  }
  if (code === 'script_failed' || code === 'script_killed') {
    return failure(outcome.exit_code ?? 1, printed(end));
  }
  // The supervisor failed, not the script: OSCAR's exits with 1 then (OSCAR §7.8).
  const sentence = Buffer.from(`${outcome.failure?.message ?? 'failed'}\n`);
  return failure(1, outcome.script_started ? Buffer.concat([printed(end), sentence]) : sentence);
}

/**
 * Why an answer that is too large was not sent, and where the result is instead.
 * @param stored whether the service has an output path
 */
export function answerTooLarge(limit: number, stored: boolean): string {
  const where = stored
    ? "its files were uploaded to the service's output path"
    : 'give the service an output path, where files of any size go';
  return `the answer would be larger than ${limit} bytes (SLUICE_CALL_RESPONSE_LIMIT): ${where}`;
}

function success(end: CallEnd): CallAnswer {
  if (end.crowded) return unavailable(answersCrowded);
  const filesAnswer = end.unknownEvent && end.files.length > 0;
  if (!filesAnswer && end.dropped > 0) {
    return failure(1, Buffer.from(`${answerTooLarge(end.limit, end.outcome.outputs.length > 0)}\n`));
  }
  return { status: 200, result: 'succeeded', body: responseBody(end) };
}

function printed(end: CallEnd): Uint8Array {
  if (end.dropped === 0) return end.output;
  return Buffer.concat([end.output, Buffer.from(`\n(${end.dropped} more bytes are left out)\n`)]);
}

function failure(exitCode: number, output: Uint8Array): CallAnswer {
  const body = Buffer.concat([Buffer.from(`exit status ${exitCode}\n`), output]);
  return { status: 500, result: 'failed', body };
}

function unavailable(message: string): CallAnswer {
  return { ...textAnswer(503, 'unavailable', message), retryAfterSeconds: 1 };
}

function textAnswer(status: number, result: RunnerResult, text: string): CallAnswer {
  return { status, result, body: Buffer.from(`${text}\n`) };
}
