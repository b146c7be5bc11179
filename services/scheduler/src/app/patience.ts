import type { Delivery } from '@sluice/shared/bus';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';

/**
 * Tries for as long as a server is away, the delivery in hand: else a long absence would use up its deliveries, and what somebody asked for would end among the dead
 * letters.
 */
export async function withPatience(
  delivery: Pick<Delivery, 'extend'>,
  options: { readonly clock: Clock; readonly stopping: AbortSignal; readonly everyMs?: number },
  work: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (!isAppError(error, 'unavailable') || options.stopping.aborted) throw error;
      await delivery.extend().catch(() => undefined);
      // Given back when the process stops: it rejects then.
      await options.clock.sleep(options.everyMs ?? 1000, options.stopping).catch(() => undefined);
    }
  }
}
