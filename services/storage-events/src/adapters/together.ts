import { mapLimited } from '../limited.ts';
import type { NotificationHandlers, ObjectNotification } from '../ports.ts';

/** Hands over together what came while others were being handed over: one step of the ledger for many messages. */
export interface Together {
  /** Resolves when all of these are durably claimed. */
  hand(notifications: readonly ObjectNotification[]): Promise<void>;
}

interface Entry {
  readonly notifications: readonly ObjectNotification[];
  resolve(): void;
  reject(error: unknown): void;
}

const largestBatch = 500;
const atOnce = 16;

/** Bounded by its callers, each of which waits: as many as messages are in flight. */
export function createTogether(handlers: Pick<NotificationHandlers, 'onNotifications'>): Together {
  let waiting: Entry[] = [];
  let running: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const entries = takeSome(waiting);
      waiting = waiting.slice(entries.length);
      await handOver(handlers, entries);
    }
    running = undefined;
  };
  return {
    hand: async (notifications) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting.push({ notifications, resolve, reject });
      running ??= run();
      return promise;
    },
  };
}

/** The first of them always: one message may tell of more objects than a batch has. */
function takeSome(waiting: readonly Entry[]): readonly Entry[] {
  let objects = 0;
  const beyond = waiting.findIndex((entry, at) => {
    objects += entry.notifications.length;
    return at > 0 && objects > largestBatch;
  });
  return beyond < 0 ? waiting : waiting.slice(0, beyond);
}

/** Never rejects: each entry's caller is told. */
async function handOver(
  handlers: Pick<NotificationHandlers, 'onNotifications'>,
  entries: readonly Entry[],
): Promise<void> {
  try {
    await handlers.onNotifications(entries.flatMap(({ notifications }) => notifications));
    for (const entry of entries) entry.resolve();
  } catch (error) {
    const [first] = entries;
    if (entries.length === 1) {
      first?.reject(error);
      return;
    }
    // One message that cannot be taken must not hold up the others.
    await mapLimited(entries, atOnce, async (entry) => handOver(handlers, [entry]));
  }
}
