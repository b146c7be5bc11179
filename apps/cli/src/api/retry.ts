import type { TransportKind } from './transport-error.ts';

/** One try's end, as far as trying again goes. */
export type Ending =
  | { readonly kind: TransportKind }
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSeconds: number | undefined };

export interface Tries {
  /** Tries that have ended, this one included. */
  readonly count: number;
  /** Milliseconds since the first of them ended. */
  readonly since: number;
  /** The server has answered something in this command before. */
  readonly wasReached: boolean;
}

/** A server that restarts is back within this; past it, waiting is of no use. */
const patienceMs = 30_000;
const maxTries = 30;
const maxPauseMs = 5000;
const firstPauseMs = 200;

/**
 * Milliseconds until the next try of a request that may be repeated; undefined to give up.
 * A server that never answered is not waited for: the message with the next command should come at once.
 * @param random 0 to 1
 */
export function pauseBeforeRetry(ending: Ending, tries: Tries, random: number): number | undefined {
  if (tries.count >= maxTries || tries.since >= patienceMs) return undefined;
  const backOff = Math.min(maxPauseMs, firstPauseMs * 2 ** (tries.count - 1)) * (0.5 + random / 2);
  switch (ending.kind) {
    case 'status':
      return pauseAfterStatus(ending, tries, backOff);
    case 'refused':
      return tries.wasReached ? backOff : undefined;
    case 'broken':
      return tries.wasReached || tries.count < 3 ? backOff : undefined;
    default:
      return undefined;
  }
}

function pauseAfterStatus(
  ending: { readonly status: number; readonly retryAfterSeconds: number | undefined },
  tries: Tries,
  backOff: number,
): number | undefined {
  if (ending.status === 503 || ending.status === 429) {
    if (ending.retryAfterSeconds === undefined) return tries.count < 4 ? backOff : undefined;
    const pause = ending.retryAfterSeconds * 1000;
    return tries.since + pause > patienceMs ? undefined : Math.max(pause, backOff);
  }
  return (ending.status === 502 || ending.status === 504) && tries.count < 4 ? backOff : undefined;
}

/** Seconds of a `Retry-After` header: a number, or a date. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,6}$/.test(value.trim())) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}
