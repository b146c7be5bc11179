import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { CollectionHold, CollectionState } from '../clean-up-ports.ts';
import type { CollectionPhase } from '../domain/collection-phases.ts';

/** A collection in hand. */
export interface Held {
  /** Aborted when it is not, or perhaps not, this process's any more: nothing may be done to the registry then. */
  readonly lost: AbortSignal;
  /** Another process has it, or may have it. */
  isTaken(): boolean;
  /** Stores the phase that begins. @returns `gone` where the store is empty; @throws AppError `conflict` where it is lost, `unavailable` */
  enter(phase: CollectionPhase): Promise<'held' | 'gone'>;
  /** Renews no more. */
  release(): Promise<void>;
}

/**
 * Renews the hold on a collection for as long as it lasts. While the store cannot be asked, it counts as lost before another process can have it.
 * Where the whole store is gone, nobody else knows of the collection: it stays in hand, to be brought to its end.
 */
export function holdCollection(
  deps: { readonly state: CollectionState; readonly clock: Clock; readonly log: Logger },
  holder: string,
  leaseMs: number,
): Held {
  const { state, clock, log } = deps;
  const lost = new AbortController();
  const released = new AbortController();
  let renewedAt = clock.monotonic();
  const lose = (why: string): void => {
    if (lost.signal.aborted) return;
    log.warn({ why }, 'the collection of the registry is not in hand any more');
    lost.abort(new AppError('conflict', `The collection was taken over: ${why}.`));
  };
  /** @param askedAt when it was asked: the lease counts from then at the latest */
  const heed = (hold: CollectionHold, askedAt: number): void => {
    if (hold === 'taken') lose('this process was silent too long');
    else renewedAt = askedAt;
  };
  // Half of the time is left for what runs to end, before another may take over.
  const heedTime = (): void => {
    if (clock.monotonic() - renewedAt > leaseMs / 2) lose('its state cannot be reached');
  };
  const renew = async (): Promise<void> => {
    heedTime();
    if (lost.signal.aborted) return;
    const askedAt = clock.monotonic();
    try {
      heed(await state.renew(holder, leaseMs), askedAt);
    } catch (error) {
      log.debug({ err: error }, 'the hold on the collection could not be renewed');
    }
    heedTime();
  };
  const loop = async (): Promise<void> => {
    while (!released.signal.aborted && !lost.signal.aborted) {
      try {
        await clock.sleep(leaseMs / 4, released.signal);
      } catch {
        return;
      }
      await renew();
    }
  };
  const renewing = loop();
  return {
    lost: lost.signal,
    isTaken: () => lost.signal.aborted,
    enter: async (phase) => {
      const askedAt = clock.monotonic();
      const hold = await state.enter(holder, phase, leaseMs);
      heed(hold, askedAt);
      lost.signal.throwIfAborted();
      return hold === 'gone' ? 'gone' : 'held';
    },
    release: async () => {
      released.abort();
      await renewing;
    },
  };
}
