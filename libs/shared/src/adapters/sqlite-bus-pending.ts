import type { IncomingMessage } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { isAppError } from '../errors/index.ts';
import type { Channel } from './sqlite-bus-channels.ts';
import { noKey } from './sqlite-bus-messages.ts';
import type { Database } from './sqlite-database.ts';

interface Row {
  readonly seq: number;
  readonly key: string;
  readonly id: string;
  readonly traceparent: string | null;
  readonly payload: string;
}

const page = 500;

/** Reads what a channel holds, a page at a time; messages that broke their contract meanwhile are left for whoever fetches them. */
export function createPendingReader(
  db: Database,
  codec: MessageCodec,
): (channel: Channel) => AsyncIterable<IncomingMessage> {
  const select = db.prepare<Row>(
    `SELECT seq, key, id, traceparent, payload FROM bus_messages
     WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ${page}`,
  );
  return async function* pending(channel) {
    let after = 0;
    for (;;) {
      const rows = db.read(() => select.all(channel.id, after));
      for (const row of rows) {
        after = row.seq;
        const message = messageOf(channel, row, codec);
        if (message !== undefined) yield message;
      }
      if (rows.length < page) return;
    }
  };
}

function messageOf(channel: Channel, row: Row, codec: MessageCodec): IncomingMessage | undefined {
  try {
    return {
      id: row.id,
      name: channel.name,
      key: row.key === noKey ? undefined : row.key,
      payload: codec.decode(channel.name, row.payload),
      traceparent: row.traceparent ?? undefined,
    };
  } catch (error) {
    if (!isAppError(error, 'unprocessable')) throw error;
    return undefined;
  }
}
