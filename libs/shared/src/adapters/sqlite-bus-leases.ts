import type { Delivery } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { isAppError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { type Channel, longestDelayMs } from './sqlite-bus-channels.ts';
import type { Graveyard } from './sqlite-bus-dead-letters.ts';
import { type MessageRow, type Messages, noKey } from './sqlite-bus-messages.ts';
import type { Database } from './sqlite-database.ts';
import type { Transaction } from './sqlite-transaction.ts';

/** What a durable reader asked for; see `ConsumerSpec`. */
export interface Terms {
  readonly durable: string;
  readonly maxInFlight: number;
  readonly maxAttempts: number;
  readonly leaseMs: number;
}

/** Who hands out deliveries: a durable reader of any number of channels. */
export interface Holder {
  readonly terms: Terms;
  /** Deliveries handed out and not settled, and room kept for those being fetched. */
  inFlight: number;
  /** Called when there is more room than before. */
  freed(): void;
}

/** A message in hand. Kept in memory only: one process owns the file, and what a dead one held is ready again. */
interface Lease {
  readonly holder: Holder;
  readonly channel: Channel;
  readonly row: MessageRow;
  readonly payload: unknown;
  /** Bus time. */
  until: number;
  /** False once it was settled or its time is over. */
  live: boolean;
}

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
  /** Gives back all that is in hand; of one holder, or of all. */
  releaseAll(holder?: Holder): Promise<void>;
}

export interface LeasesOptions {
  readonly db: Database;
  readonly messages: Messages;
  readonly graveyard: Graveyard;
  readonly codec: MessageCodec;
  readonly log: Logger;
  /** Bus time: epoch milliseconds that only grow. */
  readonly time: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Something falls due at this bus time. */
  readonly dueAt: (time: number) => void;
}

const firstBackoffMs = 500;
const longestBackoffMs = 60_000;

/** Milliseconds before the next delivery: doubled each time, half of it by chance, so that failures don't come back in step. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(firstBackoffMs * 2 ** Math.min(attempt - 1, 20), longestBackoffMs);
  return full * (0.5 + random / 2);
}

export function createLeases(options: LeasesOptions): Leases {
  const { db, messages } = options;
  // By place of the message; a message has one lease at a time.
  const leases = new Map<number, Lease>();

  const begin = (lease: Lease): void => {
    leases.set(lease.row.seq, lease);
    options.dueAt(lease.until);
  };
  const end = (lease: Lease): void => {
    if (!lease.live) return;
    lease.live = false;
    if (leases.get(lease.row.seq) === lease) leases.delete(lease.row.seq);
    lease.holder.inFlight -= 1;
    lease.holder.freed();
  };
  const endAt = (transaction: Transaction, lease: Lease): void => {
    transaction.afterCommit(() => end(lease));
  };

  const settling: Settling = {
    options,
    end: endAt,
    endOther: (transaction, lease) => {
      const other = leases.get(lease.row.seq);
      if (other !== undefined && other !== lease && other.row.id === lease.row.id) endAt(transaction, other);
    },
  };

  return {
    fetch: async (holder, wants) => {
      const room = wants.reduce((sum, want) => sum + want.max, 0);
      holder.inFlight += room;
      let taken = 0;
      try {
        const got = await db.write((transaction) => {
          const fresh = wants.flatMap((want) => takeLeases(transaction, holder, want, options));
          transaction.afterCommit(() => fresh.forEach(begin));
          return fresh;
        });
        taken = got.length;
        return got.map((lease) => toDelivery(lease, settling));
      } finally {
        holder.inFlight -= room - taken;
      }
    },
    expire: async (now) => {
      const over = [...leases.values()].filter((lease) => lease.until <= now);
      if (over.length > 0) await db.write((transaction) => over.forEach((lease) => expireLease(transaction, lease, settling)));
      let next: number | undefined;
      for (const { until } of leases.values()) if (next === undefined || until < next) next = until;
      return next;
    },
    releaseAll: async (holder) => {
      const mine = [...leases.values()].filter((lease) => holder === undefined || lease.holder === holder);
      if (mine.length === 0) return;
      await db.write((transaction) => {
        for (const lease of mine) {
          if (!lease.live) continue;
          messages.putBack(transaction, lease.channel, lease.row, undefined, 1);
          endAt(transaction, lease);
        }
      });
    },
  };
}

/** What settling a delivery needs. */
interface Settling {
  readonly options: LeasesOptions;
  readonly end: (transaction: Transaction, lease: Lease) => void;
  /** Ends a later lease of the same message: its work was done by the earlier one after all. */
  readonly endOther: (transaction: Transaction, lease: Lease) => void;
}

function takeLeases(transaction: Transaction, holder: Holder, want: Want, options: LeasesOptions): readonly Lease[] {
  const { channel, key, max } = want;
  const until = options.time() + holder.terms.leaseMs;
  const leases: Lease[] = [];
  for (const row of options.messages.take(transaction, channel, key, max)) {
    try {
      if (row.attempts > holder.terms.maxAttempts) {
        // Left over from a process that died during the last one.
        const last = { ...row, attempts: row.attempts - 1 };
        bury(transaction, { holder, channel, row: last }, `not settled in ${last.attempts} deliveries`, options);
        continue;
      }
      const payload = options.codec.decode(channel.name, row.payload);
      leases.push({ holder, channel, row, payload, until, live: true });
    } catch (error) {
      if (!isAppError(error, 'unprocessable')) throw error;
      bury(transaction, { holder, channel, row }, error.message, options);
    }
  }
  return leases;
}

function bury(
  transaction: Transaction,
  { holder, channel, row }: Pick<Lease, 'holder' | 'channel' | 'row'>,
  reason: string,
  { graveyard, messages, log, time, dueAt }: LeasesOptions,
): void {
  const { durable } = holder.terms;
  if (graveyard.bury(transaction, channel, row, { consumer: durable, reason })) {
    transaction.afterCommit(() => {
      log.warn({ message_id: row.id, message_name: channel.name, consumer: durable, attempts: row.attempts, reason }, 'message went to the dead letters');
    });
    return;
  }
  // Nothing is dropped for want of room: it waits, to be buried later.
  const later = time() + longestBackoffMs;
  messages.putBack(transaction, channel, row, later, 0);
  transaction.afterCommit(() => {
    dueAt(later);
    log.error({ message_id: row.id, message_name: channel.name, consumer: durable, reason }, 'dead letters are full');
  });
}

function expireLease(transaction: Transaction, lease: Lease, { options, end }: Settling): void {
  if (!lease.live || lease.until > options.time()) return;
  const { holder, channel, row } = lease;
  if (row.attempts >= holder.terms.maxAttempts) {
    bury(transaction, lease, `not settled in ${row.attempts} deliveries`, options);
  } else {
    options.messages.putBack(transaction, channel, row, undefined, 0);
  }
  end(transaction, lease);
}

function toDelivery(lease: Lease, settling: Settling): Delivery {
  const { channel, row, payload } = lease;
  const { db, messages, time, dueAt, random } = settling.options;
  let done = false;
  /** Runs the first settlement that succeeds; later ones change nothing. */
  const settle = async (work: (transaction: Transaction) => void): Promise<void> => {
    if (done) return;
    await db.write(work);
    done = true;
  };
  /** For settlements that only whoever holds the message may make. */
  const settleHeld = async (work: (transaction: Transaction) => void): Promise<void> =>
    settle((transaction) => {
      if (!lease.live) return;
      work(transaction);
      settling.end(transaction, lease);
    });

  return {
    message: {
      id: row.id,
      name: channel.name,
      key: row.key === noKey ? undefined : row.key,
      payload,
      traceparent: row.traceparent ?? undefined,
    },
    attempt: row.attempts,
    // Counts even when the lease is over: the work was done.
    ack: async () =>
      settle((transaction) => {
        messages.remove(transaction, channel, row);
        settling.end(transaction, lease);
        settling.endOther(transaction, lease);
      }),
    retry: async (reason, delayMs) =>
      settleHeld((transaction) => {
        if (row.attempts >= lease.holder.terms.maxAttempts) return bury(transaction, lease, reason, settling.options);
        const wait = delayMs ?? backoffMs(row.attempts, random());
        const until = wait > 0 ? time() + Math.min(wait, longestDelayMs) : undefined;
        messages.putBack(transaction, channel, row, until, 0);
        if (until !== undefined) transaction.afterCommit(() => dueAt(until));
      }),
    release: async () =>
      settleHeld((transaction) => messages.putBack(transaction, channel, row, undefined, 1)),
    deadLetter: async (reason) => settleHeld((transaction) => bury(transaction, lease, reason, settling.options)),
    extend: async () => {
      if (lease.live) lease.until = time() + lease.holder.terms.leaseMs;
    },
  };
}
