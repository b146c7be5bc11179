import type { Delivery } from '../bus/index.ts';
import { isAppError } from '../errors/index.ts';
import type { Channel } from './sqlite-bus-channels.ts';
import {
  buryMessage,
  type DeliveryOptions,
  type Holder,
  type Lease,
  type Settling,
  toDelivery,
} from './sqlite-bus-delivery.ts';
import type { Transaction } from './sqlite-transaction.ts';

/** How many messages of one key are wanted. */
export interface Want {
  readonly channel: Channel;
  readonly key: string;
  readonly max: number;
}

export interface Leases {
  /** Hands out messages: attempts are stored first, so that a crash at the last one strands nothing. One write. */
  fetch(holder: Holder, wants: readonly Want[]): Promise<readonly Delivery[]>;
  /** Ends leases whose time is over. Answers when the next one ends (bus time). */
  expire(now: number): Promise<number | undefined>;
  /** Gives back what of these is still in hand. Whoever works on one may still acknowledge it. */
  giveBack(deliveries: Iterable<Delivery>): Promise<void>;
  /** Gives back all that is in hand; of one holder, or of all. */
  giveBackAll(holder?: Holder): Promise<void>;
}

export function createLeases(options: DeliveryOptions): Leases {
  const { db } = options;
  const book = createBook(options);
  const leaseOf = new WeakMap<Delivery, Lease>();

  const giveBack = async (leases: readonly Lease[]): Promise<void> => {
    const held = leases.filter((lease) => lease.live);
    if (held.length === 0) return;
    await db.write((transaction) => {
      for (const lease of held) {
        if (!lease.live) continue;
        options.messages.putBack(transaction, lease.channel, lease.row, undefined, 1);
        book.end(transaction, lease);
      }
    });
  };

  return {
    fetch: async (holder, wants) => {
      const room = wants.reduce((sum, want) => sum + want.max, 0);
      // Kept from now on, so that fetches side by side don't take more than there is room for.
      holder.inFlight += room;
      let taken = 0;
      try {
        const leases = await db.write((transaction) => {
          const fresh = wants.flatMap((want) => takeLeases(transaction, holder, want, options));
          transaction.afterCommit(() => fresh.forEach(book.begin));
          return fresh;
        });
        taken = leases.length;
        return leases.map((lease) => {
          const delivery = toDelivery(lease, book);
          leaseOf.set(delivery, lease);
          return delivery;
        });
      } finally {
        holder.inFlight -= room - taken;
      }
    },
    expire: async (now) => {
      const over = book.all().filter((lease) => lease.until <= now);
      if (over.length > 0) {
        await db.write((transaction) => over.forEach((lease) => expireLease(transaction, lease, book)));
      }
      const left = book.all();
      return left.length === 0
        ? undefined
        : left.reduce((next, { until }) => Math.min(next, until), Infinity);
    },
    giveBack: async (deliveries) =>
      giveBack([...deliveries].flatMap((delivery) => leaseOf.get(delivery) ?? [])),
    giveBackAll: async (holder) =>
      giveBack(book.all().filter((lease) => (holder ?? lease.holder) === lease.holder)),
  };
}

interface Book extends Settling {
  begin(lease: Lease): void;
  all(): readonly Lease[];
}

/** Who has which message in hand. */
function createBook(options: DeliveryOptions): Book {
  // By place of the message; a message has one lease at a time.
  const leases = new Map<number, Lease>();
  const end = (transaction: Transaction, lease: Lease): void => {
    transaction.afterCommit(() => {
      if (!lease.live) return;
      lease.live = false;
      if (leases.get(lease.row.seq) === lease) leases.delete(lease.row.seq);
      lease.holder.inFlight -= 1;
      lease.holder.freed();
    });
  };
  return {
    options,
    begin: (lease) => {
      leases.set(lease.row.seq, lease);
      options.dueAt(lease.until);
    },
    end,
    endOther: (transaction, lease) => {
      const other = leases.get(lease.row.seq);
      if (other !== undefined && other !== lease && other.row.id === lease.row.id) end(transaction, other);
    },
    all: () => [...leases.values()],
  };
}

function takeLeases(
  transaction: Transaction,
  holder: Holder,
  want: Want,
  options: DeliveryOptions,
): readonly Lease[] {
  const { channel, key, max } = want;
  const until = options.time() + holder.terms.leaseMs;
  const leases: Lease[] = [];
  for (const row of options.messages.take(transaction, channel, key, max)) {
    try {
      if (row.attempts > holder.terms.maxAttempts) {
        // Left over from a process that died during the last one.
        const last = { ...row, attempts: row.attempts - 1 };
        buryMessage(
          transaction,
          { holder, channel, row: last },
          `not settled in ${last.attempts} deliveries`,
          options,
        );
        continue;
      }
      const payload = options.codec.decode(channel.name, row.payload);
      leases.push({ holder, channel, row, payload, until, live: true });
    } catch (error) {
      if (!isAppError(error, 'unprocessable')) throw error;
      buryMessage(transaction, { holder, channel, row }, error.message, options);
    }
  }
  return leases;
}

function expireLease(transaction: Transaction, lease: Lease, { options, end }: Settling): void {
  if (!lease.live || lease.until > options.time()) return;
  const { holder, channel, row } = lease;
  if (row.attempts >= holder.terms.maxAttempts) {
    buryMessage(transaction, lease, `not settled in ${row.attempts} deliveries`, options);
  } else {
    options.messages.putBack(transaction, channel, row, undefined, 0);
  }
  end(transaction, lease);
}
