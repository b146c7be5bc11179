import type { AttemptOutcome } from '@sluice/shared/contracts';

/** Outputs that a run names (`Run.outputs`). */
const maxOutputs = 100;
const maxMessage = 4000;
const maxCode = 100;

/** An outcome as a run can keep it, whatever its pod sent: it must be able to end. */
export function boundedOutcome(outcome: AttemptOutcome): AttemptOutcome {
  const { failure, outputs } = outcome;
  const omitted = Math.max(0, outputs.length - maxOutputs) + (outcome.outputs_omitted ?? 0);
  return {
    ...outcome,
    outputs: outputs.slice(0, maxOutputs),
    ...(omitted === 0 ? {} : { outputs_omitted: omitted }),
    ...(failure === undefined
      ? {}
      : { failure: { code: failure.code.slice(0, maxCode), message: boundedText(failure.message) } }),
  };
}

/** A sentence of a pod as a time line can keep it. */
export function boundedText(text: string): string {
  return text.length <= maxMessage ? text : `${text.slice(0, maxMessage)}…`;
}
