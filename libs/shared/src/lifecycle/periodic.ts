import type { Logger } from '../telemetry/index.ts';
import type { Clock } from './clock.ts';

/** Does a job again and again, never twice at once; a failure is logged and the next turn comes as planned. */
export function createPeriodic(
  options: { name: string; everyMs: number; clock: Clock; log: Logger },
  work: () => Promise<void>,
): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const loop = async (): Promise<void> => {
    for (;;) {
      try {
        await options.clock.sleep(options.everyMs, stopping.signal);
      } catch {
        return;
      }
      try {
        await work();
      } catch (error) {
        options.log.warn(
          { err: error, job: options.name },
          'periodic job failed, it is tried again at its next turn',
        );
      }
    }
  };
  const done = loop();
  return {
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
}
