import { createHash } from 'node:crypto';
import type { AttemptPlan } from '@sluice/shared/contracts';
import type { ObjectHead } from '@sluice/shared/stores';

/** The input that an output was made of. */
export interface InputState {
  readonly bucket: string;
  readonly key: string;
  /** Epoch milliseconds. */
  readonly lastModified: number;
}

/** Names of what travels with an output (design: one visible output, hop count, trace). */
const names = {
  run: 'sluice-run',
  hash: 'sluice-sha256',
  input: 'sluice-input',
  inputTime: 'sluice-input-time',
  hop: 'sluice-hop',
  traceparent: 'traceparent',
} as const;

/**
 * The metadata of one output. `sluice-hop` is how many services the data has been through, this one included: what the run
 * that it starts has as `hop`.
 * @param sha256 of the content, hex
 */
export function outputMetadata(
  plan: Pick<AttemptPlan, 'run_id' | 'hop' | 'traceparent'>,
  input: InputState | undefined,
  sha256: string,
): Readonly<Record<string, string>> {
  return {
    [names.run]: plan.run_id,
    [names.hash]: sha256,
    [names.hop]: String(plan.hop + 1),
    [names.traceparent]: plan.traceparent,
    ...(input === undefined
      ? {}
      : { [names.input]: inputHash(input), [names.inputTime]: String(input.lastModified) }),
  };
}

/** 128 bits of a SHA-256, hex: keys may be a kilobyte long and hold any character. */
function inputHash(input: InputState): string {
  return createHash('sha256').update(`${input.bucket}/${input.key}`).digest('hex').slice(0, 32);
}

export type UploadDecision =
  | { readonly kind: 'create' }
  | { readonly kind: 'replace'; readonly etag: string }
  /** An earlier attempt of this run put the same bytes there: a second upload would look new to the services behind it. */
  | { readonly kind: 'keep'; readonly head: ObjectHead }
  /** A newer state of the same input has had its run already. */
  | { readonly kind: 'superseded' };

/** What to do with an output, seen what is at its key. */
export function decideUpload(
  existing: ObjectHead | undefined,
  wanted: Readonly<Record<string, string>>,
): UploadDecision {
  if (existing === undefined) return { kind: 'create' };
  const { metadata } = existing;
  if (metadata[names.run] === wanted[names.run] && metadata[names.hash] === wanted[names.hash]) {
    return { kind: 'keep', head: existing };
  }
  const sameInput = wanted[names.input] !== undefined && metadata[names.input] === wanted[names.input];
  if (sameInput && Number(metadata[names.inputTime]) > Number(wanted[names.inputTime])) {
    return { kind: 'superseded' };
  }
  return { kind: 'replace', etag: existing.etag };
}
