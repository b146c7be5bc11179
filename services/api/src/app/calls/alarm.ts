import type { Clock } from '@sluice/shared/lifecycle';

/** One moment to wake up at. */
export interface Alarm {
  /** Replaces the moment that was set. */
  set(at: number, wake: () => void): void;
  clear(): void;
}

/** @param clock whose monotonic time the moments are in */
export function createAlarm(clock: Clock): Alarm {
  let current: { readonly at: number; readonly stop: AbortController } | undefined;
  const clear = (): void => {
    // With a reason: making the default one costs more than the rest.
    current?.stop.abort('cleared');
    current = undefined;
  };
  return {
    set: (at, wake) => {
      if (current?.at === at) return;
      clear();
      const mine = { at, stop: new AbortController() };
      current = mine;
      const delay = Math.max(0, at - clock.monotonic());
      clock.sleep(delay, mine.stop.signal).then(
        () => {
          if (current !== mine) return;
          current = undefined;
          wake();
        },
        () => undefined,
      );
    },
    clear,
  };
}
