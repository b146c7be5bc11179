import type { DeadLetter, DeadLetters, OutgoingMessage } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { catalogue, type MessageName } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Channel, Channels } from './sqlite-bus-channels.ts';
import { type Messages, type MessageRow, noKey } from './sqlite-bus-messages.ts';
import { checkLimit } from './page-limit.ts';
import { decodeNumberCursor, encodeCursor } from './sqlite-cursor.ts';
import type { Database } from './sqlite-database.ts';
import type { Stage, Transaction } from './sqlite-transaction.ts';

export interface Graveyard {
  readonly deadLetters: DeadLetters;
  /** Moves a message to the dead letters, inside a transaction; false when they are full, and the message stays. */
  bury(transaction: Transaction, channel: Channel, row: MessageRow, death: Death): boolean;
}

export interface Death {
  readonly consumer: string;
  readonly reason: string;
}

export interface GraveyardOptions {
  readonly db: Database;
  readonly namespace: string;
  readonly channels: Channels;
  readonly messages: Messages;
  readonly codec: MessageCodec;
  readonly now: () => number;
  readonly newId: () => string;
  readonly limit: number;
  /** Refuses what would make a command's stream too long. */
  readonly checkRoom: (transaction: Transaction, channel: Channel, more: number) => void;
}

interface DeadRow {
  readonly seq: number;
  readonly id: string;
  readonly message_id: string;
  readonly name: string;
  readonly key: string | null;
  readonly payload: string;
  readonly traceparent: string | null;
  readonly consumer: string;
  readonly reason: string;
  readonly attempts: number;
  readonly dead_at: number;
}

/** Reasons are sentences; what a handler threw may be a whole page. */
const maxReason = 2000;
const cursorKind = 'dead';

export function createGraveyard(options: GraveyardOptions): Graveyard {
  const tally = createTally(options);
  const insert = inserter(options, tally);
  return {
    deadLetters: createDeadLetters(options, tally, insert),
    bury: (transaction, channel, row, death) => {
      if (tally.count(transaction) >= options.limit) return false;
      options.messages.remove(transaction, channel, row);
      const { traceparent, payload, attempts } = row;
      const key = row.key === noKey ? null : row.key;
      insert(transaction, options.newId(), {
        message_id: row.id,
        name: channel.name,
        key,
        payload,
        traceparent,
        attempts,
        ...death,
      });
      return true;
    },
  };
}

type Body = Omit<DeadRow, 'seq' | 'id' | 'dead_at'>;
type Insert = (transaction: Transaction, id: string, body: Body) => void;

function inserter({ db, namespace, now }: GraveyardOptions, tally: Tally): Insert {
  const insert = db.prepare(
    `INSERT INTO bus_dead_letters
       (namespace, id, message_id, name, key, payload, traceparent, consumer, reason, attempts, dead_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  return (transaction, id, { message_id, name, key, payload, traceparent, consumer, reason, attempts }) => {
    const short = reason.slice(0, maxReason);
    const at = Math.floor(now());
    const { changes } = insert.run(
      namespace,
      id,
      message_id,
      name,
      key,
      payload,
      traceparent,
      consumer,
      short,
      attempts,
      at,
    );
    tally.add(transaction, Number(changes));
  };
}

/** How many dead letters there are, without counting rows. */
interface Tally {
  /** The uncommitted ones of a transaction included, where one is given. */
  count(transaction?: Transaction): number;
  add(transaction: Transaction, more: number): void;
}

function createTally({ db, namespace }: GraveyardOptions): Tally {
  const counted = db.prepare<{ n: number }>('SELECT count(*) AS n FROM bus_dead_letters WHERE namespace = ?');
  let committed = db.read(() => counted.get(namespace)?.n ?? 0);
  const stage: Stage<{ added: number }> = {
    start: () => ({ added: 0 }),
    afterCommit: ({ added }) => {
      committed += added;
    },
  };
  return {
    count: (transaction) => committed + (transaction?.stage(stage).added ?? 0),
    add: (transaction, more) => {
      transaction.stage(stage).added += more;
    },
  };
}

function createDeadLetters(options: GraveyardOptions, tally: Tally, insert: Insert): DeadLetters {
  const { db, namespace } = options;
  const page = db.prepare<DeadRow>(
    'SELECT * FROM bus_dead_letters WHERE namespace = ? AND seq < ? ORDER BY seq DESC LIMIT ?',
  );
  const one = db.prepare<DeadRow>('SELECT * FROM bus_dead_letters WHERE namespace = ? AND id = ?');
  const remove = db.prepare('DELETE FROM bus_dead_letters WHERE namespace = ? AND id = ?');
  const take = (transaction: Transaction, id: string): void => {
    tally.add(transaction, -Number(remove.run(namespace, id).changes));
  };
  return {
    list: async ({ limit, cursor }) => {
      checkLimit(limit);
      const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeNumberCursor(cursorKind, cursor);
      const rows = db.read(() => page.all(namespace, before, limit + 1));
      const items = rows.slice(0, limit).map(toDeadLetter);
      const last = rows[limit - 1];
      return rows.length > limit && last !== undefined
        ? { items, next: encodeCursor(cursorKind, String(last.seq)) }
        : { items };
    },
    get: async (id) => {
      const row = db.read(() => one.get(namespace, id));
      return row === undefined ? undefined : toDeadLetter(row);
    },
    put: async (message, death) => {
      const payload = options.codec.encode(message);
      await db.write((transaction) => {
        if (one.get(namespace, message.id) !== undefined) return;
        if (tally.count(transaction) >= options.limit) throw fullOfDead(options.limit);
        const { id, name, key = null, traceparent = null } = message;
        insert(transaction, id, { message_id: id, name, key, payload, traceparent, attempts: 0, ...death });
      });
    },
    redrive: async (id) => {
      return db.write((transaction) => {
        const row = one.get(namespace, id);
        if (row === undefined) throw notFound(id);
        const messageId = redrive(transaction, row, options);
        take(transaction, id);
        return messageId;
      });
    },
    remove: async (id) => {
      await db.write((transaction) => take(transaction, id));
    },
    count: async () => db.read(() => tally.count()),
  };
}

/** Publishes a dead letter again, to the reader that could not handle it and to no other. */
function redrive(transaction: Transaction, row: DeadRow, options: GraveyardOptions): string {
  const name = nameOf(row);
  const contract = catalogue[name];
  const channel = options.channels.find(name, contract.kind === 'cmd' ? '' : row.consumer);
  if (channel === undefined) {
    throw new AppError(
      'unprocessable',
      `The reader ${row.consumer} of this dead letter does not exist any more.`,
    );
  }
  options.codec.decode(name, row.payload);
  options.checkRoom(transaction, channel, 1);
  // Another id than before, or the message would count as done.
  const message: Pick<OutgoingMessage, 'id' | 'key' | 'traceparent'> = {
    id: `redrive-${options.newId()}`,
    ...(row.key === null ? {} : { key: row.key }),
    ...(row.traceparent === null ? {} : { traceparent: row.traceparent }),
  };
  options.messages.insert(transaction, channel, { ...message, json: row.payload });
  return message.id;
}

function nameOf(row: DeadRow): MessageName {
  if (Object.hasOwn(catalogue, row.name)) return row.name as MessageName;
  throw new AppError('unprocessable', `There is no message named ${row.name} any more.`);
}

function notFound(id: string): AppError {
  return new AppError('not_found', `There is no dead letter ${id}.`);
}

function fullOfDead(limit: number): AppError {
  return new AppError('limit_reached', `There are ${limit} dead letters already; redrive or remove some.`);
}

function toDeadLetter(row: DeadRow): DeadLetter {
  return {
    id: row.id,
    message_id: row.message_id,
    name: row.name,
    ...(row.key === null ? {} : { key: row.key }),
    payload: payloadOf(row.payload),
    ...(row.traceparent === null ? {} : { traceparent: row.traceparent }),
    consumer: row.consumer,
    reason: row.reason,
    attempts: row.attempts,
    dead_at: row.dead_at,
  };
}

/** A message may be dead just because this is no JSON. */
function payloadOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
