import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';

export interface Patience {
  /** Milliseconds after which no further try is made. */
  readonly forMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Says whether another try makes sense. @default while the failure says "later" */
  readonly again?: (error: unknown) => boolean;
}

const firstWaitMs = 100;
const longestWaitMs = 5000;

/** Tries until it works, at growing intervals; rejects with the last failure. */
export async function withPatience<T>(
  clock: Clock,
  { forMs, signal, again = isPassing }: Patience,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = clock.monotonic() + forMs;
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted === true || !again(error) || clock.monotonic() + waitMs > deadline) throw error;
      try {
        await clock.sleep(waitMs, signal);
      } catch {
        throw error;
      }
    }
  }
}

function isPassing(error: unknown): boolean {
  return isAppError(error) && error.retry === 'later';
}
