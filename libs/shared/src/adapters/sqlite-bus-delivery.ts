import { backoffMs, longestBackoffMs, longestDelayMs, type Terms } from '../bus/delivery-rules.ts';
import type { Delivery } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Channel } from './sqlite-bus-channels.ts';
import type { Graveyard } from './sqlite-bus-dead-letters.ts';
import { type MessageRow, type Messages, noKey } from './sqlite-bus-messages.ts';
import type { Database } from './sqlite-database.ts';
import type { Transaction } from './sqlite-transaction.ts';

/** Who hands out deliveries: a durable reader of any number of channels. */
export interface Holder {
  readonly terms: Terms;
  /** Deliveries handed out and not settled, and room kept for those being fetched. */
  inFlight: number;
  /** Called when there is more room than before. */
  freed(): void;
}

/** A message in hand. Kept in memory only: one process owns the file, and what a dead one held is ready again. */
export interface Lease {
  readonly holder: Holder;
  readonly channel: Channel;
  readonly row: MessageRow;
  readonly payload: unknown;
  /** Bus time. */
  until: number;
  /** False once it was settled or its time is over. */
  live: boolean;
}

export interface DeliveryOptions {
  readonly db: Database;
  readonly messages: Messages;
  readonly bury: Graveyard['bury'];
  readonly codec: MessageCodec;
  readonly log: Logger;
  /** Bus time: epoch milliseconds that only grow. */
  readonly time: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Something falls due at this bus time. */
  readonly dueAt: (time: number) => void;
}

/** What settling a delivery needs. */
export interface Settling {
  readonly options: DeliveryOptions;
  readonly end: (transaction: Transaction, lease: Lease) => void;
  /** Ends a later lease of the same message: its work was done by the earlier one after all. */
  readonly endOther: (transaction: Transaction, lease: Lease) => void;
}

/** Moves a message in hand to the dead letters. */
export function buryMessage(
  transaction: Transaction,
  { holder, channel, row }: Pick<Lease, 'holder' | 'channel' | 'row'>,
  reason: string,
  options: DeliveryOptions,
): void {
  const { messages, log, time, dueAt } = options;
  const { durable } = holder.terms;
  if (options.bury(transaction, channel, row, { consumer: durable, reason })) {
    transaction.afterCommit(() => {
      log.warn(
        { message_id: row.id, message_name: channel.name, consumer: durable, attempts: row.attempts, reason },
        'message went to the dead letters',
      );
    });
    return;
  }
  // Nothing is dropped for want of room: it waits, to be buried later.
  const later = time() + longestBackoffMs;
  messages.putBack(transaction, channel, row, later, 0);
  transaction.afterCommit(() => {
    dueAt(later);
    log.error(
      { message_id: row.id, message_name: channel.name, consumer: durable, reason },
      'dead letters are full',
    );
  });
}

/** A lease as the port shows it. */
export function toDelivery(lease: Lease, settling: Settling): Delivery {
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
        if (row.attempts >= lease.holder.terms.maxAttempts)
          return buryMessage(transaction, lease, reason, settling.options);
        const wait = delayMs ?? backoffMs(row.attempts, random());
        const until = wait > 0 ? time() + Math.min(wait, longestDelayMs) : undefined;
        messages.putBack(transaction, channel, row, until, 0);
        if (until !== undefined) transaction.afterCommit(() => dueAt(until));
      }),
    release: async () =>
      settleHeld((transaction) => messages.putBack(transaction, channel, row, undefined, 1)),
    deadLetter: async (reason) =>
      settleHeld((transaction) => buryMessage(transaction, lease, reason, settling.options)),
    extend: async () => {
      if (lease.live) lease.until = time() + lease.holder.terms.leaseMs;
    },
  };
}
