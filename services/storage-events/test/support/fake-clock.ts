import type { Clock } from '@sluice/shared/lifecycle';

/** Time that stands still until the test moves it. */
export interface FakeClock extends Clock {
  /** Time passes: both clocks go on, and sleepers whose time has come wake. */
  advance(ms: number): void;
  /** The wall clock is set; no time passes. */
  jump(ms: number): void;
  readonly sleepers: number;
}

export function createFakeClock(start = 1_700_000_000_000): FakeClock {
  let passed = 0;
  let offset = 0;
  const sleeping = new Set<{ readonly until: number; readonly wake: () => void }>();
  return {
    now: () => start + passed + offset,
    monotonic: () => passed,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { until: passed + ms, wake: resolve };
        sleeping.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleeping.delete(sleeper);
          reject(signal.reason as Error);
        });
      }),
    advance: (ms) => {
      passed += ms;
      for (const sleeper of sleeping) {
        if (sleeper.until > passed) continue;
        sleeping.delete(sleeper);
        sleeper.wake();
      }
    },
    jump: (ms) => {
      offset += ms;
    },
    get sleepers() {
      return sleeping.size;
    },
  };
}
