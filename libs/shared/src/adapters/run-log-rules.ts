import { AppError } from '../errors/index.ts';
import type { RunLogRef } from '../stores/index.ts';

const safeName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** @throws AppError `invalid_input` for a name that no part of a path can be */
export function checkLogRef(ref: RunLogRef): void {
  if (!safeName.test(ref.service)) throw badName('service', 'service name');
  if (!safeName.test(ref.runId)) throw badName('runId', 'run id');
}

function badName(field: string, what: string): AppError {
  return new AppError('invalid_input', `The ${what} has characters that a log's file name cannot have.`, {
    field,
  });
}

export function checkLogRange(query: { offset: number; limit: number }): void {
  if (!Number.isSafeInteger(query.offset) || query.offset < 0) {
    throw new AppError('invalid_input', 'The offset must be a whole number from 0.', { field: 'offset' });
  }
  if (!Number.isSafeInteger(query.limit) || query.limit < 1) {
    throw new AppError('invalid_input', 'The limit must be a whole number from 1.', { field: 'limit' });
  }
}

/** Up to the last line's end; all of it where a line is longer than what was asked for. */
export function wholeLines(bytes: Buffer): Buffer {
  const end = bytes.lastIndexOf(0x0a);
  return end < 0 ? bytes : bytes.subarray(0, end + 1);
}
