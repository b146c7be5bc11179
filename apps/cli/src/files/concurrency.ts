/**
 * Works on items, at most `limit` at once; takes no new one after a failure, and rejects with the first once those under way have ended.
 */
export async function forEachLimit<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const active = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const start = (item: T): void => {
    const task: Promise<void> = work(item)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => active.delete(task));
    active.add(task);
  };
  try {
    for await (const item of items) {
      start(item);
      if (active.size >= limit) await Promise.race(active);
      if (failure !== undefined) break;
    }
  } finally {
    await Promise.all(active);
  }
  if (failure !== undefined) throw failure.error;
}

/** Runs at most `limit` of the given tasks at once; the others wait in order. */
export function createSlots(limit: number): <T>(task: () => Promise<T>) => Promise<T> {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
