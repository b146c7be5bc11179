import { AppError, isAppError, messageOf, systemCode, type ErrorCode } from '../errors/index.ts';

/** What JetStream's error codes mean for us; any other of a server is `unavailable`. */
const codes: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  10_023: ['storage_full', 'JetStream has no resources left'],
  10_028: ['storage_full', 'JetStream has no memory left'],
  10_047: ['storage_full', 'JetStream has no space left on its disk'],
  10_039: ['unavailable', 'JetStream is not enabled for this account'],
  10_074: ['unavailable', 'there are fewer NATS servers than replicas are wanted: set NATS_REPLICAS'],
  10_076: ['unavailable', 'JetStream is switched off: start the NATS server with "-js"'],
  10_054: ['too_large', 'the message is larger than the stream takes'],
  10_014: ['not_found', 'the consumer does not exist'],
  10_037: ['not_found', 'the message does not exist'],
  10_059: ['not_found', 'the stream does not exist'],
  10_071: ['precondition_failed', 'somebody else wrote it meanwhile'],
  10_164: ['precondition_failed', 'somebody else wrote it meanwhile'],
};

/** Of the server: the store refused a message, for whatever reason; which one is in the text only. */
const storeFailed = 10_077;

/** By name: an error's class would load the package where nothing else needs it. */
const apiErrors: ReadonlySet<string> = new Set([
  'JetStreamApiError',
  'ConsumerNotFoundError',
  'StreamNotFoundError',
]);

/** The packages' errors that say that the server is away, or did not answer in time. */
const awayErrors: Readonly<Record<string, string>> = {
  TimeoutError: 'it did not answer in time',
  NoRespondersError: 'nothing answers there: JetStream is off, or has no leader yet',
  RequestError: 'the request was not answered',
  ConnectionError: 'it cannot be reached',
  ClosedConnectionError: 'the connection is closed',
  DrainingConnectionError: 'the connection is being closed',
  PermissionViolationError: 'its user may not do that',
  JetStreamNotEnabled: 'JetStream is switched off: start the NATS server with "-js"',
  JetStreamError: 'JetStream failed',
  JetStreamStatusError: 'JetStream failed',
  ProtocolError: 'it refuses the connection',
};

/** The code of JetStream's answer; undefined for any other error. */
export function jetStreamCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !apiErrors.has(error.name) || !('code' in error)) return undefined;
  return typeof error.code === 'number' ? error.code : undefined;
}

/** Whether the server knows who we are not. */
export function isRefusedLogin(error: unknown): boolean {
  return (
    error instanceof Error && ['AuthorizationError', 'UserAuthenticationExpiredError'].includes(error.name)
  );
}

/**
 * Turns whatever the NATS packages throw into an `AppError`: the one place where that is done. Anything else passes through.
 * @param what the thing that was being done, for the message: `publish runs.start`
 */
export function fromNatsError(error: unknown, what: string): unknown {
  if (isAppError(error) || !(error instanceof Error)) return error;
  const code = jetStreamCode(error);
  if (code !== undefined) return fromAnswer(code, messageOf(error), what, error);
  if (isRefusedLogin(error)) {
    const message = `Cannot ${what}: the server refuses the credentials; check the token, or the user and the password.`;
    return new AppError('unauthenticated', message, { cause: error });
  }
  const away = awayErrors[error.name];
  if (away !== undefined) return unavailable(what, `${away} (${messageOf(error)})`, error);
  const system = systemCode(error);
  return system === undefined ? error : unavailable(what, networkFault(system), error);
}

/** The `AppError` of an answer that is a refusal: JetStream's own code and sentence. */
export function fromAnswer(code: number, text: string, what: string, cause?: unknown): AppError {
  const details = { code, server: text };
  if (code === storeFailed && text.startsWith('maximum ')) {
    return new AppError('limit_reached', `Cannot ${what}: too much waits there already; try again later.`, {
      retryAfterSeconds: 5,
      details,
      cause,
    });
  }
  const [meaning, sentence] = codes[code] ?? ['unavailable', text];
  return new AppError(meaning, `Cannot ${what}: ${sentence}.`, { details, cause });
}

function networkFault(code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `its certificate is for another name (${code}); name the server as its certificate does`;
  }
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/.test(code)
    ? `its certificate is not trusted (${code}); name the authority that signed it`
    : `the server cannot be reached (${code})`;
}

function unavailable(what: string, why: string, cause: Error): AppError {
  return new AppError('unavailable', `Cannot ${what}: ${why}.`, { retryAfterSeconds: 1, cause });
}
