import type { Clock } from '@sluice/shared/lifecycle';

/** Remembers a wake-up that came while nobody waited, so that none is lost. */
export interface WakeUp {
  readonly wake: () => void;
  clear(): void;
  /** Resolves at the next wake-up (or the one since `clear`), or after the time. */
  wait(clock: Clock, ms: number): Promise<void>;
}

export function createWakeUp(): WakeUp {
  let woken = false;
  let resolve: (() => void) | undefined;
  return {
    wake: () => {
      woken = true;
      resolve?.();
    },
    clear: () => {
      woken = false;
    },
    wait: async (clock, ms) => {
      if (woken) return;
      const { promise, resolve: done } = Promise.withResolvers<void>();
      resolve = done;
      const timer = new AbortController();
      const timeout = clock.sleep(ms, timer.signal).catch(() => undefined);
      await Promise.race([promise, timeout]);
      timer.abort();
      resolve = undefined;
    },
  };
}
