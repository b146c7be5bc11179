import type { OutgoingMessage } from '../bus/index.ts';
import { AppError } from '../errors/index.ts';
import type { OutboxEntry, RunLedger } from '../stores/index.ts';
import type { Database } from './sqlite-database.ts';
import type { Stage, Transaction } from './sqlite-transaction.ts';

/** Messages that are stored with what they speak of, until somebody has published them. */
export interface RunOutbox extends Pick<RunLedger, 'readOutbox' | 'removeFromOutbox' | 'onOutbox'> {
  add(transaction: Transaction, messages: readonly OutgoingMessage[]): void;
  /** @throws AppError `limit_reached` when so many more are too many */
  checkRoom(transaction: Transaction, more: number): void;
}

interface Row {
  readonly seq: number;
  readonly messages: string;
}

/** Messages of one row: what many callers said in one transaction costs a few rows, written and removed as wholes. */
const rowMessages = 100;
const readStep = 8;

/** @param limit messages that may wait before claims are refused; changes of state are always taken */
export function createRunOutbox(db: Database, limit: number): RunOutbox {
  const insert = db.prepare('INSERT INTO run_outbox (n, messages) VALUES (?, ?)');
  const counted = db.prepare<{ n: number | null }>('SELECT sum(n) AS n FROM run_outbox');
  const page = db.prepare<Row>('SELECT seq, messages FROM run_outbox WHERE seq > ? ORDER BY seq LIMIT ? + 0');
  const remove = remover(db);
  const listeners = new Set<() => void>();
  let waiting = db.read(() => counted.get()?.n ?? 0);

  const added: Stage<OutgoingMessage[]> = {
    start: () => [],
    beforeCommit: (messages) => {
      for (let at = 0; at < messages.length; at += rowMessages) {
        const some = messages.slice(at, at + rowMessages);
        insert.run(some.length, JSON.stringify(some));
      }
    },
    afterCommit: (messages) => {
      waiting += messages.length;
      if (messages.length > 0) for (const listener of listeners) listener();
    },
  };
  return {
    add: (transaction, messages) => {
      if (messages.length > 0) transaction.stage(added).push(...messages);
    },
    checkRoom: (transaction, more) => {
      if (waiting + transaction.stage(added).length + more <= limit) return;
      throw new AppError('limit_reached', 'Too many messages wait to be published; try again later.', {
        retryAfterSeconds: 5,
      });
    },
    readOutbox: async (max) => db.read(() => readEntries(page, max)),
    removeFromOutbox: async (seqs) => {
      const rows = byRow(seqs);
      if (rows.size === 0) return;
      await db.write((transaction) => {
        let gone = 0;
        for (const [seq, places] of rows) gone += remove(seq, places);
        transaction.afterCommit(() => {
          waiting -= gone;
        });
      });
    },
    onOutbox: (listener) => {
      // Its own function, so that the same listener can be there twice.
      const entry = (): void => listener();
      listeners.add(entry);
      return () => listeners.delete(entry);
    },
  };
}

function messagesOf(row: Row): readonly (OutgoingMessage | null)[] {
  return JSON.parse(row.messages) as (OutgoingMessage | null)[];
}

function readEntries(
  page: { all(after: number, limit: number): Row[] },
  max: number,
): readonly OutboxEntry[] {
  const entries: OutboxEntry[] = [];
  let after = 0;
  while (entries.length < max) {
    const rows = page.all(after, readStep);
    for (const row of rows) {
      after = row.seq;
      if (entries.length >= max) break;
      for (const [place, message] of messagesOf(row).entries()) {
        if (message !== null && entries.length < max) entries.push({ seq: `${row.seq}.${place}`, message });
      }
    }
    if (rows.length < readStep) break;
  }
  return entries;
}

/** Rows, and the places in each, of entries as `readOutbox` named them; what it never named is ignored. */
function byRow(seqs: readonly string[]): ReadonlyMap<number, ReadonlySet<number>> {
  const rows = new Map<number, Set<number>>();
  for (const text of seqs) {
    const [, seq, place] = /^(\d{1,15})\.(\d{1,6})$/.exec(text) ?? [];
    if (seq === undefined || place === undefined) continue;
    const places = rows.get(Number(seq)) ?? new Set();
    rows.set(Number(seq), places.add(Number(place)));
  }
  return rows;
}

/** Answers how many messages it removed. */
function remover(db: Database): (seq: number, places: ReadonlySet<number>) => number {
  const whole = db.prepare('DELETE FROM run_outbox WHERE seq = ? AND n = ? AND touched = 0');
  const one = db.prepare<Row>('SELECT seq, messages FROM run_outbox WHERE seq = ?');
  const drop = db.prepare('DELETE FROM run_outbox WHERE seq = ?');
  const rewrite = db.prepare('UPDATE run_outbox SET n = ?, touched = 1, messages = ? WHERE seq = ?');
  return (seq, places) => {
    if (Number(whole.run(seq, places.size).changes) > 0) return places.size;
    const row = one.get(seq);
    if (row === undefined) return 0;
    const before = messagesOf(row);
    const after = before.map((message, place) => (places.has(place) ? null : message));
    const left = after.filter((message) => message !== null).length;
    if (left === 0) drop.run(seq);
    else rewrite.run(left, JSON.stringify(after), seq);
    return before.filter((message) => message !== null).length - left;
  };
}
