import type { OutgoingMessage } from '../bus/index.ts';
import type { Channel, Channels } from './sqlite-bus-channels.ts';
import type { Database } from './sqlite-database.ts';
import type { Transaction } from './sqlite-transaction.ts';

/** A message as it is handed out. */
export interface MessageRow {
  readonly seq: number;
  readonly key: string;
  readonly id: string;
  /** This delivery included. */
  readonly attempts: number;
  readonly traceparent: string | null;
  readonly payload: string;
}

/** The rows of `bus_messages`, with the counts of their channels kept true. All of it runs inside a transaction. */
export interface Messages {
  /** False for an id that waits already or was done a moment ago. */
  insert(transaction: Transaction, channel: Channel, message: StoredMessage): boolean;
  /** Hands out the oldest ready messages of a key: one more attempt each. */
  take(transaction: Transaction, channel: Channel, key: string, max: number): readonly MessageRow[];
  /** The message is gone for good; nothing happens where it is already. */
  remove(
    transaction: Transaction,
    channel: Channel,
    row: { readonly seq: number; readonly id: string },
  ): void;
  /** Ready again at `until` (bus time); now where undefined. `refund`: attempts to give back. Only of messages in hand. */
  putBack(
    transaction: Transaction,
    channel: Channel,
    row: MessageRow,
    until: number | undefined,
    refund: number,
  ): void;
  /** Makes up to 500 messages ready whose time has come. Answers when the next one's comes, if any is left. */
  wakeDue(transaction: Transaction, now: number): number | undefined;
  /** Drops up to `max` of the oldest ready messages of a key that were published before a time. Answers how many. */
  dropOldest(
    transaction: Transaction,
    channel: Channel,
    key: string,
    max: number,
    publishedBefore: number,
  ): number;
}

export interface StoredMessage extends Pick<OutgoingMessage, 'id' | 'key' | 'traceparent'> {
  readonly json: string;
}

/** A message without a key. Keys of others are names of services and never empty. */
export const noKey = '';

export function createMessages(
  db: Database,
  namespace: string,
  channels: Channels,
  time: () => number,
): Messages {
  const insert = db.prepare(
    `INSERT INTO bus_messages (channel, key, id, attempts, published_at, traceparent, payload)
     VALUES (?, ?, ?, 0, ?, ?, ?) ON CONFLICT (channel, id) DO NOTHING`,
  );
  // Two statements: one UPDATE with a subquery and RETURNING takes longer. "+ 0": SQLite plans a query anew for every
  // bare "LIMIT ?" that is bound, which costs five times what the query does.
  const ready = db.prepare<MessageRow>(
    `SELECT seq, key, id, attempts + 1 AS attempts, traceparent, payload FROM bus_messages
     WHERE channel = ? AND key = ? AND held_until IS NULL ORDER BY seq LIMIT ? + 0`,
  );
  const take = db.prepare('UPDATE bus_messages SET held_until = 0, attempts = ? WHERE seq = ?');
  // Not by seq alone: SQLite gives the seq of a deleted last row to the next one.
  const remove = db.prepare<{ key: string; held_until: number | null }>(
    'DELETE FROM bus_messages WHERE seq = ? AND id = ? AND channel = ? RETURNING key, held_until',
  );
  const putBack = db.prepare(
    `UPDATE bus_messages SET held_until = ?, attempts = attempts - ?
     WHERE seq = ? AND id = ? AND channel = ? AND held_until = 0`,
  );
  return {
    insert: (transaction, channel, { id, key = noKey, traceparent, json }) => {
      if (channel.recent.has(id)) return false;
      const now = Math.floor(time());
      const { changes } = insert.run(channel.id, key, id, now, traceparent ?? null, json);
      if (Number(changes) === 0) return false;
      channels.counts(transaction).add(channel, key, 1, 1);
      return true;
    },
    take: (transaction, channel, key, max) => {
      const rows = ready.all(channel.id, key, max);
      for (const { seq, attempts } of rows) take.run(attempts, seq);
      if (rows.length > 0) channels.counts(transaction).add(channel, key, -rows.length, 0);
      return rows;
    },
    remove: (transaction, channel, { seq, id }) => {
      const row = remove.get(seq, id, channel.id);
      if (row === undefined) return;
      // Kept even when this transaction fails: the message is then still there, which says the same.
      channel.recent.add(id);
      channels.counts(transaction).add(channel, row.key, row.held_until === null ? -1 : 0, -1);
    },
    putBack: (transaction, channel, { seq, id, key }, until, refund) => {
      const at = until === undefined ? null : Math.max(1, Math.ceil(until));
      const { changes } = putBack.run(at, refund, seq, id, channel.id);
      if (Number(changes) > 0 && at === null) channels.counts(transaction).add(channel, key, 1, 0);
    },
    ...createSweeps(db, namespace, channels),
  };
}

type Sweeps = Pick<Messages, 'wakeDue' | 'dropOldest'>;

function createSweeps(db: Database, namespace: string, channels: Channels): Sweeps {
  const mine = 'channel IN (SELECT id FROM bus_channels WHERE namespace = ?)';
  const wake = db.prepare<{ channel: number; key: string }>(
    `UPDATE bus_messages SET held_until = NULL
     WHERE seq IN (SELECT seq FROM bus_messages WHERE held_until > 0 AND held_until <= ? AND ${mine} LIMIT 500)
     RETURNING channel, key`,
  );
  const nextDue = db.prepare<{ at: number | null }>(
    `SELECT min(held_until) AS at FROM bus_messages WHERE held_until > 0 AND ${mine}`,
  );
  const drop = db.prepare(
    `DELETE FROM bus_messages WHERE seq IN (
       SELECT seq FROM (
         SELECT seq, published_at FROM bus_messages WHERE channel = ? AND key = ? AND held_until IS NULL ORDER BY seq LIMIT ?)
       WHERE published_at < ?)`,
  );
  return {
    wakeDue: (transaction, now) => {
      for (const { channel, key } of wake.all(Math.floor(now), namespace)) {
        const known = channels.byId(channel);
        if (known !== undefined) channels.counts(transaction).add(known, key, 1, 0);
      }
      return nextDue.get(namespace)?.at ?? undefined;
    },
    dropOldest: (transaction, channel, key, max, publishedBefore) => {
      const dropped = Number(drop.run(channel.id, key, max, publishedBefore).changes);
      if (dropped > 0) channels.counts(transaction).add(channel, key, -dropped, -dropped);
      return dropped;
    },
  };
}
