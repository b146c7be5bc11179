import type { Clock } from '../lifecycle/index.ts';

/** One timer for many deadlines; nothing runs while none is set. */
export interface Alarm {
  /** Rings at this time (`clock.monotonic()`) or earlier; an earlier time that is set already stays. */
  set(at: number): void;
  /** Forgets the time that is set. */
  clear(): void;
}

/** Longest single wait: a timer of more than 2^31 ms would ring at once. */
const longestWaitMs = 3_600_000;

/** @param ring called when the time has come (or after an hour, for far deadlines): look what is due, set the next one */
export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let current: { readonly at: number; readonly abort: AbortController } | undefined;

  const clear = (): void => {
    current?.abort.abort();
    current = undefined;
  };
  const set = (at: number): void => {
    if (current !== undefined && current.at <= at) return;
    clear();
    const mine = { at, abort: new AbortController() };
    current = mine;
    const wait = Math.min(Math.max(0, at - clock.monotonic()), longestWaitMs);
    clock.sleep(wait, mine.abort.signal).then(
      () => {
        if (current !== mine) return;
        current = undefined;
        ring();
      },
      () => undefined, // Aborted: another time was set.
    );
  };
  return { set, clear };
}
