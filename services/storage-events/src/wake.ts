import type { Clock } from '@sluice/shared/lifecycle';

/** Waiting that can be cut short. For one waiter at a time. */
export interface Wake {
  /** Ends the wait under way, or the next one at once. */
  ring(): void;
  /** Resolves after the time or when rung; never rejects for being rung. */
  wait(ms: number): Promise<void>;
}

/** Timers of Node take no more than 2^31 ms; whoever waits looks again now and then anyway. */
const longestWait = 3_600_000;

export function createWake(clock: Clock): Wake {
  let rung = false;
  let waiting: AbortController | undefined;
  return {
    ring: () => {
      rung = true;
      waiting?.abort();
    },
    wait: async (ms) => {
      if (!rung && ms > 0) {
        const controller = new AbortController();
        waiting = controller;
        try {
          await clock.sleep(Math.min(ms, longestWait), controller.signal);
        } catch (error) {
          if (!controller.signal.aborted) throw error;
        } finally {
          waiting = undefined;
        }
      }
      rung = false;
    },
  };
}
