import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { failsTransaction, fromSqliteError } from './sqlite-errors.ts';
import { openFile } from './sqlite-open.ts';
import { createTransaction, type OpenTransaction, type Transaction } from './sqlite-transaction.ts';

/** A prepared statement whose rows have the given shape (the schema's `STRICT` tables keep the promise). */
export interface Statement<Row = never> {
  get(...values: readonly SQLInputValue[]): Row | undefined;
  all(...values: readonly SQLInputValue[]): Row[];
  run(...values: readonly SQLInputValue[]): { readonly changes: number | bigint };
}

/** One SQLite file with one user: this object. Work is synchronous inside, durable commits are shared. */
export interface Database {
  readonly path: string;
  /** The prepared form of a statement, kept for ever: pass constant texts only. */
  prepare<Row = never>(sql: string): Statement<Row>;
  /** Runs a reader now; it sees all that was committed. Errors of the file come as `AppError`. */
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
   * Reserves a part of the database for one adapter, since adapters keep mirrors of it in memory.
   * @returns gives it back
   * @throws AppError `conflict` when it is taken
   */
  occupy(part: string): () => void;
  /** Rejects while the database can't be used, or could not be written to within the last ten seconds. */
  check(): Promise<void>;
  /** Commits what waits, then closes; later calls are refused. Safe to call twice. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Writers that may wait for a commit; past it they are refused. @default 20000 */
  readonly maxWaiting?: number;
}

interface Job {
  readonly work: (transaction: Transaction) => unknown;
  readonly settle: (error: unknown) => void;
  value: unknown;
  /** What its own work threw; it takes no part in the transaction then. */
  failure: { readonly error: unknown } | undefined;
}

/** Bounds of one transaction: the event loop stands still while it runs. */
const batchJobs = 500;
const batchMs = 10;
/** Transactions that are run again without a failing job before each job gets one of its own. */
const maxRepeats = 3;
const sickMs = 10_000;

/** See `openFile` for what is refused at open. */
export function openDatabase(options: DatabaseOptions): Database {
  const sqlite = openFile(options.path, options.log);
  return createDatabase(sqlite, options);
}

function createDatabase(sqlite: DatabaseSync, options: DatabaseOptions): Database {
  const { path, clock, log } = options;
  const maxWaiting = options.maxWaiting ?? 20_000;
  const statements = new Map<string, unknown>();
  const parts = new Set<string>();
  const begin = sqlite.prepare('BEGIN IMMEDIATE');
  const commit = sqlite.prepare('COMMIT');
  const totalChanges = sqlite.prepare('SELECT total_changes() AS n');
  let waiting: Job[] = [];
  let scheduled: NodeJS.Immediate | undefined;
  let closed = false;
  let sick: { readonly error: unknown; readonly at: number } | undefined;

  const prepare = <Row>(sql: string): Statement<Row> => {
    const known = statements.get(sql) ?? sqlite.prepare(sql);
    statements.set(sql, known);
    return known as Statement<Row>;
  };

  const refuseClosed = (): void => {
    if (closed) throw new AppError('unavailable', `The database ${path} is closed.`);
  };

  const rollBack = (): void => {
    // SQLite has rolled back by itself after some errors (disk full).
    if (sqlite.isTransaction) sqlite.exec('ROLLBACK');
  };

  const changes = (): number => Number(totalChanges.get()?.['n']);

  /** Runs one job in an open transaction; true when it failed after it had changed something. */
  const runJob = (job: Job, transaction: OpenTransaction): boolean => {
    const before = changes();
    const staged = transaction.stagings();
    try {
      job.value = job.work(transaction);
      return false;
    } catch (error) {
      if (failsTransaction(error) || !sqlite.isTransaction) throw error;
      job.failure = { error };
      return changes() !== before || transaction.stagings() !== staged;
    }
  };

  /** One transaction over what `next` gives; false when a failing job spoilt it and it has to be run again. */
  const transact = (next: () => Job | undefined): boolean => {
    const transaction = createTransaction();
    try {
      begin.run();
      for (let job = next(); job !== undefined; job = next()) {
        if (!runJob(job, transaction)) continue;
        rollBack();
        return false;
      }
      transaction.beforeCommit();
      commit.run();
    } catch (error) {
      rollBack();
      throw error;
    }
    sick = undefined;
    transaction.committed();
    return true;
  };

  const takeFrom = (source: readonly Job[], batch: Job[]): (() => Job | undefined) => {
    const started = clock.monotonic();
    return () => {
      const full = batch.length >= batchJobs || (batch.length > 0 && clock.monotonic() - started >= batchMs);
      const job = full ? undefined : source[batch.length];
      if (job !== undefined) batch.push(job);
      return job;
    };
  };

  const each = (jobs: readonly Job[]): (() => Job | undefined) => {
    const left = jobs.filter((job) => job.failure === undefined).values();
    return () => left.next().value;
  };

  const runAlone = (job: Job): void => {
    try {
      // A failing one was rolled back; there is nothing to repeat.
      transact(each([job]));
    } catch (error) {
      job.failure = { error: failed(error) };
    }
  };

  const failed = (error: unknown): unknown => {
    const mapped = fromSqliteError(error, path);
    sick = { error: mapped, at: clock.monotonic() };
    log.error({ err: error, path }, 'database transaction failed');
    return mapped;
  };

  /** Commits the first jobs of `source` and returns them, each with its value or failure. */
  const runBatch = (source: readonly Job[]): readonly Job[] => {
    const batch: Job[] = [];
    try {
      let done = transact(takeFrom(source, batch));
      for (let repeats = 0; !done && repeats < maxRepeats; repeats += 1) done = transact(each(batch));
      if (!done) for (const job of batch) if (job.failure === undefined) runAlone(job);
    } catch (error) {
      const mapped = failed(error);
      // Nothing was stored, so those that had not been reached are no better off: they fail with the rest.
      if (batch.length === 0 && source[0] !== undefined) batch.push(source[0]);
      for (const job of batch) job.failure ??= { error: mapped };
    }
    return batch;
  };

  const flush = (): void => {
    scheduled = undefined;
    const batch = runBatch(waiting);
    waiting = waiting.slice(batch.length);
    if (waiting.length > 0) scheduled = setImmediate(flush);
    for (const job of batch) job.settle(job.failure?.error);
  };

  return {
    path,
    prepare,
    read: (reader) => {
      refuseClosed();
      try {
        return reader();
      } catch (error) {
        throw fromSqliteError(error, path);
      }
    },
    write: <T>(work: (transaction: Transaction) => T) => {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      if (closed || waiting.length >= maxWaiting) {
        reject(new AppError('unavailable', closed ? `The database ${path} is closed.` : 'Too much waits to be stored; try again.', { retryAfterSeconds: 1 }));
        return promise;
      }
      const job: Job = {
        work,
        value: undefined,
        failure: undefined,
        settle: (error) => {
          if (job.failure === undefined) resolve(job.value as T);
          else reject(error);
        },
      };
      waiting.push(job);
      // Not at once: whoever is served in this turn of the event loop shares the commit.
      scheduled ??= setImmediate(flush);
      return promise;
    },
  };
}
