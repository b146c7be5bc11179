import { AppError, messageOf } from '@sluice/shared/errors';

/** One thing wrong with an input, named in the words of the caller's document. */
export interface Fault {
  /** `input[0].path`; empty where the message says it all. */
  readonly field: string;
  readonly message: string;
}

/** The text of faults, one a line. */
export function faultText(faults: readonly Fault[]): string {
  return faults.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('\n');
}

/** A fault where a check of `@sluice/shared` throws; other errors pass. */
export function faultOf(field: string, check: () => void): Fault[] {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof AppError) return [{ field, message: messageOf(error) }];
    throw error;
  }
}
