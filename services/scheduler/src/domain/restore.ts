import type { OutcomeRecord, Run, SluiceOptions } from '@sluice/shared/contracts';
import { nextStep } from './next-step.ts';

/** The run that an outcome leaves, as the ledger had it before it forgot: ended, or waiting for another attempt. */
export function restoredRun(
  record: Pick<OutcomeRecord, 'outcome' | 'ended_at'>,
  before: Run,
  options: SluiceOptions,
): Run {
  const { outcome, ended_at: at } = record;
  const step = nextStep(before, outcome, options);
  const {
    exit_code: _code,
    failure: _failure,
    outputs: _outputs,
    outputs_omitted: _omitted,
    ...kept
  } = before;
  if (step.kind === 'again') {
    const { started_at: _started, ...waiting } = kept;
    const attempt = before.attempt + 1;
    return {
      ...waiting,
      state: 'queued',
      attempt,
      infra_failures: step.infraFailures,
      script_failures: step.scriptFailures,
      timeline: withEntry(before, { at, attempt, state: 'queued', message: step.message }),
    };
  }
  const { outcome: last } = step;
  return {
    ...kept,
    state: step.to,
    finished_at: at,
    ...(last.exit_code === undefined ? {} : { exit_code: last.exit_code }),
    ...(last.failure === undefined ? {} : { failure: last.failure }),
    ...(last.outputs.length === 0 ? {} : { outputs: last.outputs }),
    ...(last.outputs_omitted === undefined ? {} : { outputs_omitted: last.outputs_omitted }),
    timeline: withEntry(before, { at, attempt: before.attempt, state: step.to, message: step.message }),
  };
}

/** The run of a start message: waiting for that attempt. */
export function waitingRun(run: Run, attempt: number): Run {
  const timeline =
    run.timeline.length > 0 ? run.timeline : [{ at: run.created_at, attempt, state: 'queued' as const }];
  return { ...run, state: 'queued', attempt, timeline };
}

const maxEntries = 50;

function withEntry(run: Run, entry: Run['timeline'][number]): Run['timeline'] {
  return [...run.timeline.slice(0, maxEntries - 1), entry];
}
