import { AppError, isAppError, messageOf } from '../errors/index.ts';

/** Primary result codes of SQLite (sqlite.org/rescode.html) that say something about the whole database, not about one statement. */
const codes = {
  busy: 5,
  locked: 6,
  noMemory: 7,
  readOnly: 8,
  interrupted: 9,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  protocol: 15,
  notADatabase: 26,
} as const;

const wholeDatabase: ReadonlySet<number> = new Set(Object.values(codes));

/** The primary result code of an error of `node:sqlite`; undefined for anything else. */
function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number')
    return undefined;
  // The low byte is the primary code; the rest says which system call failed.
  return error.errcode & 0xff;
}

/** True where the failure hit the transaction as a whole (disk full, I/O error), so that no statement of it can be trusted. */
export function failsTransaction(error: unknown): boolean {
  const code = resultCode(error);
  return code !== undefined && wholeDatabase.has(code);
}

/** True where another connection holds the file. */
export function isLocked(error: unknown): boolean {
  const code = resultCode(error);
  return code === codes.busy || code === codes.locked || code === codes.protocol;
}

/** True where the file is no database, or a broken one. */
export function isDamaged(error: unknown): boolean {
  const code = resultCode(error);
  return code === codes.corrupt || code === codes.notADatabase;
}

/** What to do about a broken file; buckets are folders and never depend on it. */
export function damagedError(path: string, what: string, cause?: unknown): AppError {
  return new AppError(
    'unprocessable',
    `The database ${path} is damaged or not a database (${what}). Buckets and the files in them are untouched. ` +
      `Move it away together with the -wal file beside it, or put back a copy of it, and start again; ` +
      `without a copy, services have to be applied again and the history of runs is lost.`,
    { cause, details: { path } },
  );
}

/** An error of `node:sqlite` as an `AppError` that says what to mend; `AppError`s and our own bugs pass through. */
export function fromSqliteError(error: unknown, path: string): unknown {
  const code = resultCode(error);
  if (isAppError(error) || code === undefined || !wholeDatabase.has(code)) return error;
  const options = { cause: error, details: { path, code } };
  switch (code) {
    case codes.full:
      return new AppError(
        'storage_full',
        `The disk is full: ${path} cannot grow. Free some space; the work is tried again.`,
        options,
      );
    case codes.corrupt:
    case codes.notADatabase:
      return new AppError(
        'unavailable',
        `The database ${path} turned out to be damaged. Stop Sluice and look at the disk; buckets are untouched.`,
        options,
      );
    case codes.readOnly:
    case codes.cantOpen:
      return new AppError('unavailable', `The database ${path} is not writable.`, options);
    default:
      return new AppError(
        'unavailable',
        `The database ${path} cannot be used now: ${messageOf(error)}.`,
        options,
      );
  }
}
