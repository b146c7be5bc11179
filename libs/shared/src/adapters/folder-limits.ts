import { AppError } from '../errors/index.ts';

/** Runs `work` over all items, at most `limit` at a time, results in order; the first failure stops new ones from starting. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (const [at, item] of queue) {
      if (failed) return;
      try {
        results[at] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, lane));
  for (const done of lanes) if (done.status === 'rejected') throw done.reason;
  return results;
}

/** One holder at a time for each key. */
export interface KeyLocks {
  /** @throws AppError `limit_reached` when too many wait for this key */
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
}

/** @param maxWaiting callers that may wait for one key */
export function createKeyLocks(maxWaiting: number): KeyLocks {
  const held = new Map<string, { tail: Promise<void>; count: number }>();
  return {
    run: async (key, work) => {
      const lock = held.get(key) ?? { tail: Promise.resolve(), count: 0 };
      if (lock.count > maxWaiting) {
        throw new AppError('limit_reached', 'Too many writes to one object wait for each other.', {
          retryAfterSeconds: 1,
        });
      }
      held.set(key, lock);
      const { promise, resolve: release } = Promise.withResolvers<void>();
      const before = lock.tail;
      lock.tail = promise;
      lock.count += 1;
      await before;
      try {
        return await work();
      } finally {
        lock.count -= 1;
        if (lock.count === 0) held.delete(key);
        release();
      }
    },
  };
}
