import type { Clock } from '@sluice/shared/lifecycle';

/** Wakes one waiter. What rings while nobody waits is not missed: the next wait ends at once. */
export interface Bell {
  ring(): void;
  /** Resolves when it has rung (true), after `ms`, or when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<boolean>;
  stop(): void;
}

export function createBell(clock: Clock, stop: () => void): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    ring: () => {
      rung = true;
      wake?.();
    },
    wait: async (ms, signal) => {
      if (!rung && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = new AbortController();
        const end = (): void => {
          resolve();
        };
        wake = end;
        signal.addEventListener('abort', end, { once: true });
        // Aborted below as soon as something else has woken the waiter.
        clock.sleep(ms, timer.signal).then(end, () => undefined);
        await promise;
        signal.removeEventListener('abort', end);
        timer.abort();
        wake = undefined;
      }
      const was = rung;
      rung = false;
      return was;
    },
    stop,
  };
}
