import { AppError, isAppError, messageOf, systemCode, type ErrorCode } from '../errors/index.ts';

/** What an S3 server's error codes mean for us; anything else of a server is `unavailable`. */
const codes: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  NoSuchBucket: ['not_found', 'the bucket does not exist'],
  NoSuchKey: ['not_found', 'the object does not exist'],
  NotFound: ['not_found', 'it does not exist'],
  NoSuchUpload: ['unavailable', 'the upload was removed meanwhile'],
  PreconditionFailed: ['precondition_failed', 'the object is not in the expected state'],
  ConditionalRequestConflict: ['precondition_failed', 'the object is being written by somebody else'],
  BucketAlreadyExists: ['conflict', 'the name is taken by somebody else on this S3 server'],
  InvalidBucketName: ['invalid_input', 'the S3 server does not take this bucket name'],
  KeyTooLongError: ['invalid_input', 'the key is too long for this S3 server'],
  XMinioInvalidObjectName: ['invalid_input', 'the S3 server does not take this key'],
  XMinioObjectExistsAsDirectory: ['invalid_input', 'a folder of this name is there already'],
  XMinioParentIsObject: ['invalid_input', 'a part of the key is an object already'],
  EntityTooLarge: ['too_large', 'it is larger than the S3 server takes'],
  XMinioStorageFull: ['storage_full', 'the S3 server has no space left'],
  QuotaExceeded: ['storage_full', 'the quota of the bucket is used up'],
  XMinioAdminBucketQuotaExceeded: ['storage_full', 'the quota of the bucket is used up'],
  AccessDenied: ['unavailable', 'the S3 server denies it to the key of MINIO_ACCESS_KEY'],
  AllAccessDisabled: ['unavailable', 'the S3 server denies it to the key of MINIO_ACCESS_KEY'],
  InvalidAccessKeyId: ['unavailable', 'the S3 server does not know MINIO_ACCESS_KEY'],
  SignatureDoesNotMatch: ['unavailable', 'MINIO_SECRET_KEY is not that of MINIO_ACCESS_KEY'],
  AuthorizationHeaderMalformed: ['unavailable', 'the S3 server is in another region: set MINIO_REGION'],
  RequestTimeTooSkewed: ['unavailable', 'the clocks of this machine and of the S3 server differ too much'],
};

/** Codes that are the key's fault, where an object's or bucket's absence is not what is asked. */
const keyCodes: ReadonlySet<string> = new Set([
  'XMinioInvalidObjectName',
  'KeyTooLongError',
  'XMinioObjectExistsAsDirectory',
  'XMinioParentIsObject',
]);

/** Codes of what the server may do and does not: for these keys, whoever holds them. */
const deniedCodes: ReadonlySet<string> = new Set(['AccessDenied', 'AllAccessDisabled']);

/** What Node says of a server that is not there, or not by that name. */
const awayCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
]);
/** What OpenSSL says of a certificate. */
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/;

/** The code of an S3 server's answer; undefined for any other error. */
export function s3Code(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('amzRequestid' in error)) return undefined;
  return systemCode(error) ?? '';
}

/**
 * Turns whatever the S3 package throws into an `AppError`: the one place where that is done.
 * @param what the thing that was being done, for the message: `read the object in/a.txt`
 */
export function fromS3Error(error: unknown, what: string): AppError {
  if (isAppError(error)) return error;
  const code = s3Code(error);
  const known = code === undefined ? undefined : codes[code];
  if (known !== undefined) {
    const [ours, why] = known;
    const field = keyCodes.has(code ?? '') ? 'key' : code === 'InvalidBucketName' ? 'bucket' : undefined;
    return new AppError(ours, `Cannot ${what}: ${why}.`, {
      cause: error,
      details: { s3_code: code, ...(deniedCodes.has(code ?? '') ? { denied: true } : {}) },
      ...(field === undefined ? {} : { field }),
    });
  }
  return new AppError('unavailable', `Cannot ${what}: ${whyNotNow(error, code)}.`, {
    cause: error,
    details: { s3_code: code },
  });
}

function whyNotNow(error: unknown, s3: string | undefined): string {
  if (s3 !== undefined && s3 !== '') return `the S3 server does not do it now (${s3})`;
  const code = systemCode(error) ?? '';
  if (untrusted.test(code)) {
    return `the certificate of the S3 server is not trusted (${code}); name its authority in MINIO_CA_FILE, or set MINIO_TLS_VERIFY=false to check none`;
  }
  if (awayCodes.has(code)) return `the S3 server cannot be reached (${code})`;
  return `the S3 server does not do it now (${code === '' ? messageOf(error) : code})`;
}
