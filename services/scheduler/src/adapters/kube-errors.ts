import { AppError, isAppError, messageOf } from '@sluice/shared/errors';

/** What an answer of the API server that is no success means: 429 and 5xx later, with its `Retry-After`; other 4xx never, with its sentence. */
export function statusFailure(
  status: number,
  text: string,
  retryAfter: string | string[] | undefined,
): AppError {
  const sentence = sentenceOf(text) ?? `status ${status}`;
  const details = { status };
  // Unauthorised may be a token that was renewed a moment ago: the next try reads it anew.
  if (status === 429 || status >= 500 || status === 401 || status === 408) {
    const seconds = typeof retryAfter === 'string' ? Number(retryAfter) : Number.NaN;
    return new AppError('unavailable', `Kubernetes does not serve this now: ${sentence}`, {
      details,
      ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterSeconds: seconds } : {}),
    });
  }
  return new AppError(codeOf(status), `Kubernetes refused: ${sentence}`, { details });
}

function codeOf(
  status: number,
): 'forbidden' | 'not_found' | 'conflict' | 'precondition_failed' | 'invalid_input' {
  switch (status) {
    case 403:
      return 'forbidden';
    case 404:
      return 'not_found';
    case 409:
      return 'conflict';
    case 410:
      return 'precondition_failed';
    default:
      return 'invalid_input';
  }
}

const maxSentence = 1000;

/** `message` of a Status object; quota and admission put their reason there. */
function sentenceOf(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' && message !== '' ? message.slice(0, maxSentence) : undefined;
  } catch {
    return undefined;
  }
}

/** Whatever a request threw, with a verdict: a connection that failed or took too long is for later. */
export function kubeFailure(error: unknown): AppError {
  if (isAppError(error)) return error;
  return new AppError('unavailable', `Kubernetes cannot be reached: ${messageOf(error)}`, { cause: error });
}

/** The longest that `Retry-After` is obeyed; past it the caller is told instead. */
const maxWaitMs = 10_000;

/**
 * Milliseconds before a try: what the server asked for, else doubling from 100 ms; spread over half of it, so that those who were refused together do not come back together.
 * @param attempt the try that is to come, from 2
 * @param random from 0 to 1
 */
export function waitBefore(attempt: number, retryAfterSeconds: number | undefined, random: number): number {
  const base = retryAfterSeconds === undefined ? 100 * 2 ** (attempt - 2) : retryAfterSeconds * 1000;
  return Math.round(Math.min(maxWaitMs, base) * (1 + random / 2));
}
