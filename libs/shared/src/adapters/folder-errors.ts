import { AppError, fromSystemError, isAppError, systemCode } from '../errors/index.ts';

/** A key for a message; quoted, since keys may hold line breaks. */
export function objectName(bucket: string, key: string): string {
  return `the object ${JSON.stringify(key)} in bucket "${bucket}"`;
}

/** What the disk says, as an `AppError` where a person can do something about it. */
export function writeError(error: unknown, what: string): unknown {
  if (systemCode(error) === 'EXDEV') {
    return new AppError(
      'unavailable',
      `Cannot ${what}: its folder is on another file system than Sluice's temporary folder. Mount the whole data folder instead.`,
      { cause: error, details: { code: 'EXDEV' } },
    );
  }
  return diskError(error, what);
}

/** As `writeError`, for reading: the folder's being writable is not the question. */
export function readError(error: unknown, what: string): unknown {
  const code = systemCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return new AppError('unavailable', `Cannot ${what}: its file or folder is not readable (${code}).`, {
      cause: error,
      details: { code },
    });
  }
  return diskError(error, what);
}

function diskError(error: unknown, what: string): unknown {
  const code = systemCode(error);
  if (!isAppError(error) && (code === 'EIO' || code === 'ESTALE' || code === 'ENOTCONN')) {
    return new AppError('unavailable', `Cannot ${what}: the disk failed (${code}).`, {
      cause: error,
      details: { code },
    });
  }
  return fromSystemError(error, what);
}

export function noBucket(bucket: string): AppError {
  return new AppError('not_found', `The bucket "${bucket}" does not exist.`, { field: 'bucket' });
}

export function noObject(bucket: string, key: string): AppError {
  return new AppError('not_found', `There is no ${objectName(bucket, key).slice('the '.length)}.`, {
    field: 'key',
  });
}

export function preconditionFailed(bucket: string, key: string): AppError {
  return new AppError(
    'precondition_failed',
    `${objectName(bucket, key).replace('the', 'The')} is not in the state that was asked for.`,
  );
}

/** Runs `work`; a system error among `codes` gives undefined, others pass through. */
export async function unlessCode<T>(
  codes: readonly string[],
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (codes.includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
