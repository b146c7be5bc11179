import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';

/**
 * Does what must come before the work: at once where that goes, else again and again beside everything else, so that the order in which servers and processes start does not
 * matter.
 * @param prepare false while another one is at it
 * @param then what may begin afterwards
 * @returns ends it
 * @throws what is no server's absence
 */
export async function whenReady(
  options: { readonly clock: Clock; readonly log: Logger; readonly everyMs: number },
  prepare: () => Promise<boolean>,
  then: () => Promise<void>,
): Promise<{ stop(): Promise<void> }> {
  const stopping = new AbortController();
  const attempt = async (): Promise<boolean> => {
    try {
      if (!(await prepare())) return false;
    } catch (error) {
      if (!isAppError(error) || error.retry !== 'later') throw error;
      options.log.warn({ err: error }, 'runs cannot be started yet, trying again');
      return false;
    }
    await then();
    return true;
  };
  const again = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await options.clock.sleep(options.everyMs, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted || (await attempt())) return;
    }
  };
  const done = (await attempt()) ? Promise.resolve() : again();
  // A bug, or a server that answers nonsense: said where it is noticed, and the check of the component fails.
  done.catch((error: unknown) => {
    options.log.error({ err: error }, 'runs are not started');
  });
  return {
    stop: async () => {
      stopping.abort();
      await done.catch(() => undefined);
    },
  };
}
