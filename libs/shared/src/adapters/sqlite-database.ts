import type { SQLInputValue } from 'node:sqlite';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger, Registry } from '../telemetry/index.ts';
import { fromSqliteError } from './sqlite-errors.ts';
import { timedTransact } from './sqlite-metrics.ts';
import { openFile } from './sqlite-open.ts';
import { createTransact, type Transact, type Transaction } from './sqlite-transaction.ts';
import { createWriter } from './sqlite-writer.ts';

/** A prepared statement whose rows have the given shape; the schema's `STRICT` tables keep the promise. */
export interface Statement<Row = never> {
  get(...values: readonly SQLInputValue[]): Row | undefined;
  all(...values: readonly SQLInputValue[]): Row[];
  run(...values: readonly SQLInputValue[]): {
    readonly changes: number | bigint;
    readonly lastInsertRowid: number | bigint;
  };
}

/** One SQLite file with one user: this object. Work is synchronous inside; commits are durable and shared. */
export interface Database {
  readonly path: string;
  /** The prepared form of a statement, kept for ever: pass constant texts only. */
  prepare<Row = never>(sql: string): Statement<Row>;
  /** Runs a reader now; it sees all that was committed. @throws AppError `unavailable` */
  read<T>(reader: () => T): T;
  /**
   * Runs `work` in a transaction that it shares with whatever else waits, and resolves once that is on disk. `work` is
   * all or nothing by itself: when it throws, the others are committed without it. It may be run more than once, so it
   * must change nothing but the database and what it keeps in the transaction (`stage`, `afterCommit`).
   * @throws AppError `storage_full` or `unavailable` when nothing of the transaction was stored, `unavailable` when too much waits
   */
  write<T>(work: (transaction: Transaction) => T): Promise<T>;
  /** As `write`, at once and alone. For opening an adapter: it blocks for a whole commit. */
  writeNow<T>(work: (transaction: Transaction) => T): T;
  /**
   * Reserves a part of the database for one adapter, since adapters keep mirrors of theirs in memory.
   * @returns gives the part back
   * @throws AppError `conflict` when it is taken
   */
  occupy(part: string): () => void;
  /** Rejects when the database can't be used, or could not be written to within the last ten seconds. */
  check(): Promise<void>;
  /** Commits what waits, then closes; later calls are refused. Safe to call twice. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Registry;
  /** Writers that may wait for a commit; past it they are refused. @default 20000 */
  readonly maxWaiting?: number;
}

/** How long after a failed write `check` says so: health probes come every few seconds. */
const sickMs = 10_000;

/**
 * Opens (or makes) a database file. The lock on it ends with the process, however that ends.
 * @throws AppError `conflict` when another process has it open, `unprocessable` when it is damaged or another program's,
 *   `unsupported` when a newer Sluice made it, `storage_full` or `unavailable` when the disk refuses
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { path, clock, log } = options;
  const sqlite = openFile(path, log);
  const statements = new Map<string, unknown>();
  const parts = new Set<string>();
  const health = createHealth(options);
  const writer = createWriter({
    transact: health.watched(timedTransact(createTransact(sqlite), options)),
    clock,
    maxWaiting: options.maxWaiting ?? 20_000,
    failed: (error) => health.failed(error),
  });
  let closed = false;
  const refuseClosed = (): void => {
    if (closed) throw new AppError('unavailable', `The database ${path} is closed.`);
  };

  const read = <T>(reader: () => T): T => {
    refuseClosed();
    try {
      return reader();
    } catch (error) {
      throw fromSqliteError(error, path);
    }
  };

  return {
    path,
    read,
    prepare: <Row>(sql: string): Statement<Row> => {
      const statement = statements.get(sql) ?? sqlite.prepare(sql);
      statements.set(sql, statement);
      return statement as Statement<Row>;
    },
    write: async (work) => {
      refuseClosed();
      return writer.write(work);
    },
    writeNow: (work) => {
      refuseClosed();
      return writer.writeNow(work);
    },
    occupy: (part) => occupy(parts, part, path),
    check: async () => {
      read(() => sqlite.prepare('SELECT count(*) FROM sqlite_schema').get());
      health.check();
    },
    close: async () => {
      if (closed) return;
      closed = true;
      writer.flush();
      // Copies the log into the file and removes it.
      sqlite.close();
    },
  };
}

function occupy(parts: Set<string>, part: string, path: string): () => void {
  if (parts.has(part)) throw new AppError('conflict', `${part} of ${path} is in use already.`);
  parts.add(part);
  return () => parts.delete(part);
}

interface Health {
  /** Notes each success of a transaction. */
  watched(transact: Transact): Transact;
  /** Notes a failed transaction; gives the error that its callers get. */
  failed(error: unknown): unknown;
  /** Throws the last failure while it is fresh and nothing was stored since. */
  check(): void;
}

function createHealth({ path, clock, log }: DatabaseOptions): Health {
  let sick: { readonly error: unknown; readonly at: number } | undefined;
  return {
    watched: (transact) => (next) => {
      const done = transact(next);
      sick = undefined;
      return done;
    },
    failed: (error) => {
      const mapped = fromSqliteError(error, path);
      // Once for each spell: with a full disk, every write of every caller comes here.
      if (sick === undefined) log.error({ err: error, path }, 'database transaction failed');
      sick = { error: mapped, at: clock.monotonic() };
      return mapped;
    },
    check: () => {
      if (sick !== undefined && clock.monotonic() - sick.at < sickMs) throw sick.error;
    },
  };
}
