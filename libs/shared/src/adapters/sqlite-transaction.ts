import type { DatabaseSync } from 'node:sqlite';
import { failsTransaction } from './sqlite-errors.ts';

/**
 * What one part of an adapter keeps for the length of a transaction: counts to add up and write once, messages to
 * announce. Made on first use and thrown away with the transaction, so that a rollback leaves nothing wrong in memory.
 */
export interface Stage<S> {
  readonly start: () => S;
  /** Writes what was gathered, before the commit. */
  readonly beforeCommit?: (state: S) => void;
  /** Takes it over into memory, after the commit and before any caller hears of it. */
  readonly afterCommit?: (state: S) => void;
}

/** A transaction as the work in it sees it. */
export interface Transaction {
  /** This transaction's state of a stage. Asking for it counts as a change: work that throws afterwards is undone. */
  stage<S>(stage: Stage<S>): S;
  /** Calls back once the transaction is on disk, before any caller hears of it. */
  afterCommit(callback: () => void): void;
}

interface OpenTransaction extends Transaction {
  /** How often something was staged. */
  staged(): number;
  beforeCommit(): void;
  committed(): void;
}

/** A piece of work, and what became of it. */
export interface Job {
  readonly work: (transaction: Transaction) => unknown;
  value: unknown;
  /** What its own work threw, or why the transaction was lost. */
  failure: { readonly error: unknown } | undefined;
}

/**
 * Runs the jobs that `next` gives in one transaction.
 * @returns false when a job threw after it had changed something: all is undone then, and has to be run again without it
 * @throws what SQLite says when nothing could be stored (disk full, I/O error); all is undone
 */
export type Transact = (next: () => Job | undefined) => boolean;

export function createTransact(sqlite: DatabaseSync): Transact {
  const begin = sqlite.prepare('BEGIN IMMEDIATE');
  const commit = sqlite.prepare('COMMIT');
  const totalChanges = sqlite.prepare('SELECT total_changes() AS n');
  const changes = (): unknown => totalChanges.get()?.['n'];

  const rollBack = (): void => {
    // SQLite has rolled back by itself after some errors (disk full).
    if (sqlite.isTransaction) sqlite.exec('ROLLBACK');
  };

  /** True when the job failed after it had changed something. */
  const spoils = (job: Job, transaction: OpenTransaction): boolean => {
    const before = changes();
    const staged = transaction.staged();
    try {
      job.value = job.work(transaction);
      return false;
    } catch (error) {
      if (failsTransaction(error) || !sqlite.isTransaction) throw error;
      job.failure = { error };
      return transaction.staged() !== staged || changes() !== before;
    }
  };

  return (next) => {
    // Failing in the middle would roll back the outer one.
    if (sqlite.isTransaction) throw new Error('a transaction was started within a transaction');
    const transaction = openTransaction();
    try {
      begin.run();
      for (let job = next(); job !== undefined; job = next()) {
        if (!spoils(job, transaction)) continue;
        rollBack();
        return false;
      }
      transaction.beforeCommit();
      commit.run();
    } catch (error) {
      rollBack();
      throw error;
    }
    transaction.committed();
    return true;
  };
}

function openTransaction(): OpenTransaction {
  const states = new Map<Stage<unknown>, unknown>();
  const callbacks: (() => void)[] = [];
  let staged = 0;

  return {
    stage: <S>(stage: Stage<S>): S => {
      staged += 1;
      const key = stage as Stage<unknown>;
      if (states.has(key)) return states.get(key) as S;
      const state = stage.start();
      states.set(key, state);
      return state;
    },
    afterCommit: (callback) => {
      staged += 1;
      callbacks.push(callback);
    },
    staged: () => staged,
    beforeCommit: () => {
      for (const [stage, state] of states) stage.beforeCommit?.(state);
    },
    committed: () => {
      for (const [stage, state] of states)
        if (stage.afterCommit !== undefined) guarded(() => stage.afterCommit?.(state));
      for (const callback of callbacks) guarded(callback);
    },
  };
}

/** What is on disk is on disk: a bug in a callback must not make it look undone, and must not stay unseen either. */
function guarded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
