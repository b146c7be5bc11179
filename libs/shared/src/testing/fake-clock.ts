import type { Clock } from '../lifecycle/index.ts';

/** A clock that stands still until it is told to move. */
export interface FakeClock extends Clock {
  /** Moves both clocks on; sleeps that end meanwhile resolve in order, each at its own time. */
  advance(ms: number): void;
  /** Sets the wall clock alone, as an administrator or a time server does. */
  setNow(epochMs: number): void;
  /** Sleeps that have not ended. */
  sleepers(): number;
}

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** @param start epoch milliseconds; default 2026-01-02T03:04:05.678Z */
export function fakeClock(start = 1_767_323_045_678): FakeClock {
  let now = start;
  let monotonic = 1000;
  const sleeping = new Set<Sleeper>();

  const moveTo = (time: number): void => {
    now += time - monotonic;
    monotonic = time;
  };
  return {
    now: () => now,
    monotonic: () => monotonic,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      if (ms <= 0) return;
      const sleeper: Sleeper = { at: monotonic + ms, wake: resolve };
      sleeping.add(sleeper);
      const abort = (): void => reject(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      try {
        await promise;
      } finally {
        sleeping.delete(sleeper);
        signal?.removeEventListener('abort', abort);
      }
    },
    advance: (ms) => {
      const until = monotonic + ms;
      const due = [...sleeping].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      for (const sleeper of due) {
        moveTo(Math.max(monotonic, sleeper.at));
        sleeping.delete(sleeper);
        sleeper.wake();
      }
      moveTo(until);
    },
    setNow: (epochMs) => {
      now = epochMs;
    },
    sleepers: () => sleeping.size,
  };
}
