import { setTimeout as delay } from 'node:timers/promises';

/** Time, injected: no other module reads the machine's clock. */
export interface Clock {
  /** Epoch milliseconds; may jump. */
  now(): number;
  /** Milliseconds that only grow; for measuring and waiting. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted. Does not keep the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? { ref: false } : { ref: false, signal });
  },
};
