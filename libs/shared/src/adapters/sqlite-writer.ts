import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Job, Transact, Transaction } from './sqlite-transaction.ts';

export interface Writer {
  /** Queues work for the next shared transaction. */
  write<T>(work: (transaction: Transaction) => T): Promise<T>;
  /** Runs work at once in a transaction of its own. */
  writeNow<T>(work: (transaction: Transaction) => T): T;
  /** Commits all that waits, now. */
  flush(): void;
}

export interface WriterOptions {
  readonly transact: Transact;
  readonly clock: Clock;
  readonly maxWaiting: number;
  /** Turns a failure of the whole transaction into what its callers are told. */
  readonly failed: (error: unknown) => unknown;
}

interface WaitingJob extends Job {
  /** Tells the caller. */
  readonly settle: () => void;
}

/** Bounds of one transaction: the event loop stands still while it runs. */
const batchJobs = 500;
const batchMs = 10;
/** How often a transaction is run again without a failing job before each job gets one of its own. */
const maxRepeats = 3;

/** Lets concurrent writers share one transaction, and so one flush of the disk. */
export function createWriter(options: WriterOptions): Writer {
  let waiting: WaitingJob[] = [];
  let scheduled: NodeJS.Immediate | undefined;

  const flushBatch = (): void => {
    scheduled = undefined;
    const batch = runBatch(waiting, options);
    waiting = waiting.slice(batch.length);
    if (waiting.length > 0) schedule();
    for (const job of batch) job.settle();
  };
  // Not at once: whoever is served in this turn of the event loop shares the commit.
  const schedule = (): void => {
    scheduled ??= setImmediate(flushBatch);
  };

  return {
    write: async (work) => {
      if (waiting.length >= options.maxWaiting) {
        throw new AppError('unavailable', 'Too much waits to be stored; try again.', {
          retryAfterSeconds: 1,
        });
      }
      return new Promise((resolve, reject) => {
        waiting.push(waitingJob(work, resolve, reject));
        schedule();
      });
    },
    writeNow: <T>(work: (transaction: Transaction) => T): T => {
      const job: Job = { work, value: undefined, failure: undefined };
      runAlone(job, options);
      if (job.failure !== undefined) throw job.failure.error;
      return job.value as T;
    },
    flush: () => {
      while (waiting.length > 0) flushBatch();
      if (scheduled !== undefined) clearImmediate(scheduled);
      scheduled = undefined;
    },
  };
}

function waitingJob<T>(
  work: (transaction: Transaction) => T,
  resolve: (value: T) => void,
  reject: (reason: unknown) => void,
): WaitingJob {
  const job: WaitingJob = {
    work,
    value: undefined,
    failure: undefined,
    settle: () => {
      if (job.failure === undefined) resolve(job.value as T);
      else reject(job.failure.error);
    },
  };
  return job;
}

/** Commits as many of the first jobs as one transaction may hold and returns them, each with its value or failure. */
function runBatch<J extends Job>(source: readonly J[], options: WriterOptions): readonly J[] {
  const batch: J[] = [];
  try {
    let done = options.transact(taking(source, batch, options.clock));
    for (let repeats = 0; !done && repeats < maxRepeats; repeats += 1)
      done = options.transact(remaining(batch));
    if (!done) for (const job of batch) if (job.failure === undefined) runAlone(job, options);
  } catch (error) {
    const failure = { error: options.failed(error) };
    // The transaction could not even begin: whoever was first in line hears of it, so that the line moves on.
    if (batch.length === 0) batch.push(...source.slice(0, batchJobs));
    for (const job of batch) job.failure ??= failure;
  }
  return batch;
}

/** Moves jobs from the source to the batch until the batch is full. */
function taking<J extends Job>(source: readonly J[], batch: J[], clock: Clock): () => J | undefined {
  const started = clock.monotonic();
  return () => {
    const full = batch.length >= batchJobs || (batch.length > 0 && clock.monotonic() - started >= batchMs);
    const job = full ? undefined : source[batch.length];
    if (job !== undefined) batch.push(job);
    return job;
  };
}

function remaining(batch: readonly Job[]): () => Job | undefined {
  const left = batch.filter((job) => job.failure === undefined).values();
  return () => left.next().value;
}

function runAlone(job: Job, options: WriterOptions): void {
  try {
    // A false answer says that it failed and was undone: there is nothing to repeat.
    options.transact(remaining([job]));
  } catch (error) {
    job.failure = { error: options.failed(error) };
  }
}
