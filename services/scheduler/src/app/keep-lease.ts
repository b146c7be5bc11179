import type { Delivery } from '@sluice/shared/bus';
import type { Clock } from '@sluice/shared/lifecycle';

/**
 * Extends a delivery's lease while it is worked on.
 * @param lease `ms` as its reader asked for; after `atMostMs` it comes again, whatever holds this one up
 * @returns ends that; whoever settles the delivery calls it first or right after
 */
export function keepLease(
  delivery: Pick<Delivery, 'extend'>,
  clock: Clock,
  lease: { readonly ms: number; readonly atMostMs: number },
): () => void {
  const done = new AbortController();
  const until = clock.monotonic() + lease.atMostMs;
  const keep = async (): Promise<void> => {
    while (!done.signal.aborted && clock.monotonic() < until) {
      await clock.sleep(lease.ms / 3, done.signal);
      // One that fails costs nothing yet: the next comes before the lease is over.
      await delivery.extend().catch(() => undefined);
    }
  };
  // Ends with the abort of its sleep.
  keep().catch(() => undefined);
  return () => {
    done.abort();
  };
}
