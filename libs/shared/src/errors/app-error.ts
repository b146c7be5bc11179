/** What the caller should do with a failure: try again later, or never with the same input. */
export type RetryVerdict = 'later' | 'never';

/** Every failure that is not our own bug has one of these codes; each edge maps them in one file. */
export const errorCodes = {
  invalid_input: 'never',
  unauthenticated: 'never',
  forbidden: 'never',
  not_found: 'never',
  conflict: 'never',
  precondition_failed: 'never',
  too_large: 'never',
  unprocessable: 'never',
  unsupported: 'never',
  cancelled: 'never',
  timed_out: 'never',
  limit_reached: 'later',
  unavailable: 'later',
  storage_full: 'later',
} as const satisfies Record<string, RetryVerdict>;

export type ErrorCode = keyof typeof errorCodes;

export interface AppErrorOptions {
  /** Name of the input field at fault, in the words of the caller's document (`input[0].path`). */
  field?: string;
  /** Seconds after which a retry makes sense; sent as `Retry-After`. */
  retryAfterSeconds?: number;
  /** Where it is another one than the code's: what nobody has set up is not there in a minute either. */
  retry?: RetryVerdict;
  /** Values worth logging beside the static message; never secrets. */
  details?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** A failure with a code, a message for a person and a retry verdict. Anything else that is thrown is a bug. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly retry: RetryVerdict;
  readonly field: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.retry = options.retry ?? errorCodes[code];
    this.field = options.field;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.details = options.details ?? {};
  }
}

/** True for an `AppError`, of one code where that is given. */
export function isAppError(error: unknown, code?: ErrorCode): error is AppError {
  return error instanceof AppError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ENOENT`), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Turns a Node file-system error into an `AppError` that says what to mend; other errors pass through.
 * @param what the thing that was being done, for the message: `write the object in/a.txt`
 */
export function fromSystemError(error: unknown, what: string): unknown {
  const code = systemCode(error);
  if (code === undefined || isAppError(error)) return error;
  const options = { cause: error, details: { code } };
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new AppError(
        'storage_full',
        `Cannot ${what}: the disk is full. Free some space; the work is tried again.`,
        options,
      );
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new AppError('unavailable', `Cannot ${what}: the folder is not writable (${code}).`, options);
    case 'EMFILE':
    case 'ENFILE':
      return new AppError('unavailable', `Cannot ${what}: too many open files (raise "ulimit -n").`, options);
    case 'ENAMETOOLONG':
      return new AppError(
        'invalid_input',
        `Cannot ${what}: a name is too long for this file system (255 bytes per part).`,
        options,
      );
    default:
      return error;
  }
}
