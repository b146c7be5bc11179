/** Gathers what many callers ask for at the same time into few calls. */
export interface Batcher<T, R> {
  /** Resolves with one result for each item, in order. Items of one call may go in several batches. */
  add(items: readonly T[]): Promise<readonly R[]>;
  /** Items that are in no batch yet. */
  waiting(): number;
}

export interface BatcherOptions<T, R> {
  /** Items of a batch, at most. */
  readonly maxItems: number;
  /** Together in a batch, at most, unless one item alone is bigger. */
  readonly maxBytes: number;
  /** Batches under way at the same time: what comes meanwhile is gathered. */
  readonly maxUnderWay: number;
  readonly bytesOf: (item: T) => number;
  /** One result for each item, in order. A rejection is that of everything that waits: it was about the server. */
  readonly work: (items: readonly T[]) => Promise<readonly R[]>;
}

interface Waiting<T, R> {
  readonly item: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

export function createBatcher<T, R>(options: BatcherOptions<T, R>): Batcher<T, R> {
  let queue: Waiting<T, R>[] = [];
  let underWay = 0;
  let planned = false;

  const take = (): Waiting<T, R>[] => {
    let bytes = 0;
    let count = 0;
    for (const { item } of queue) {
      bytes += options.bytesOf(item);
      if (count > 0 && (count >= options.maxItems || bytes > options.maxBytes)) break;
      count += 1;
    }
    return queue.splice(0, count);
  };
  const send = async (): Promise<void> => {
    const batch = take();
    try {
      const results = await options.work(batch.map(({ item }) => item));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = results[index];
        // A result may be undefined by itself; one that is not there is our bug, and must not leave its caller waiting.
        if (index < results.length) resolve(result as R);
        else reject(new Error('a batch came back with too few results'));
      }
    } catch (error) {
      const rest = queue;
      queue = [];
      for (const { reject } of [...batch, ...rest]) reject(error);
    }
  };
  const sendSome = (): void => {
    planned = false;
    while (queue.length > 0 && underWay < options.maxUnderWay) {
      underWay += 1;
      void send().finally(() => {
        underWay -= 1;
        sendSome();
      });
    }
  };
  return {
    add: async (items) => {
      const results = items.map(
        (item) => new Promise<R>((resolve, reject) => queue.push({ item, resolve, reject })),
      );
      // Not at once: callers of the same step of the event loop share a batch.
      if (!planned) {
        planned = true;
        queueMicrotask(sendSome);
      }
      return Promise.all(results);
    },
    waiting: () => queue.length,
  };
}
