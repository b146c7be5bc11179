import { openRedisClient, type RedisClient, type RedisConnectionOptions } from '@sluice/shared/adapters';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type * as bullmq from 'bullmq';
import type { Job, Worker } from 'bullmq';
import type { BuildWorkers, Verdict } from '../ports.ts';
import { bullPlace, bullQueueName, jobOfBuild } from './bull-names.ts';

export interface BullBuildWorkersOptions {
  readonly connection: RedisConnectionOptions;
  /** Builds that this process has under way at once. */
  readonly concurrency: number;
  /** What is run at the times of `Schedules`, by its name there. One that fails comes again at its next time. */
  readonly tasks?: Readonly<Record<string, (signal: AbortSignal) => Promise<void>>>;
  /** Milliseconds until a build comes again whose user has as many under way as may be. @default 1000 */
  readonly laterMs?: number;
  /** Milliseconds that a build stays with a process that says nothing any more. @default 15000 */
  readonly lockMs?: number;
  /** Milliseconds between two looks for builds whose process died. @default 10000 */
  readonly stallCheckMs?: number;
}

type Work = Parameters<BuildWorkers['start']>[0];
type Bull = typeof bullmq;

/** A job that this process is at. */
interface Hand {
  readonly id: string;
  readonly abort: AbortController;
  /** Another process may have it by now. */
  lost: boolean;
  readonly over: Promise<void>;
}

/** Milliseconds that a build has to end after it was aborted, and that the farewell to Redis may take. */
const settleMs = 5000;

/** How often a job may be given to another process because its own died: whether it goes on is for the store to say. */
const manyStalls = 1_000_000;

/** The side of the queue that takes builds out of it. While Redis is away it waits, and goes on when it is back. */
export function createBullBuildWorkers(options: BullBuildWorkersOptions): BuildWorkers {
  const { clock } = options.connection;
  const hands = new Set<Hand>();
  let stopping = false;
  let opened: { readonly redis: RedisClient; readonly worker: Worker } | undefined;
  const allOver = async (): Promise<unknown> => Promise.all([...hands].map(async ({ over }) => over));
  const within = async (ms: number, work: Promise<unknown>): Promise<void> => {
    await Promise.race([work, clock.sleep(ms)]);
  };
  return {
    start: async (work) => {
      if (opened !== undefined || stopping) throw new Error('the workers were started before');
      const redis = await openRedisClient(options.connection, 'waiting');
      const bull = await import('bullmq');
      const attend = attendant({ options, bull, hands, work, isStopping: () => stopping });
      opened = { redis, worker: makeWorker(bull, redis, options, attend) };
      watch(opened.worker, redis, options, hands);
    },
    stop: async (graceMs) => {
      stopping = true;
      if (opened === undefined) return;
      const { redis, worker } = opened;
      // Takes no more.
      await worker.pause(true);
      await within(graceMs, allOver());
      for (const { abort } of hands) abort.abort(new AppError('cancelled', 'The worker stops.'));
      await within(settleMs, allOver());
      // One that does not end keeps its lock until that expires, and is then given to another process.
      await within(settleMs, worker.close(hands.size > 0));
      await redis.close();
    },
  };
}

function makeWorker(
  bull: Bull,
  { client }: RedisClient,
  { connection, concurrency, lockMs = 15_000, stallCheckMs = 10_000 }: BullBuildWorkersOptions,
  attend: (job: Job, token: string | undefined) => Promise<void>,
): Worker {
  return new bull.Worker(bullQueueName, async (job: Job, token?: string) => attend(job, token), {
    connection: client,
    prefix: bullPlace(connection.namespace),
    name: connection.name,
    concurrency,
    lockDuration: lockMs,
    stalledInterval: stallCheckMs,
    maxStalledCount: manyStalls,
  });
}

function watch(
  worker: Worker,
  { client }: RedisClient,
  { connection: { log } }: BullBuildWorkersOptions,
  hands: ReadonlySet<Hand>,
): void {
  worker.on('lockRenewalFailed', (ids: readonly string[]) => {
    for (const hand of hands) {
      if (!ids.includes(hand.id)) continue;
      hand.lost = true;
      hand.abort.abort(new AppError('cancelled', 'Another worker may have taken the build.'));
    }
  });
  worker.on('stalled', (id: string) => {
    log.warn({ build: id }, 'the worker of a build died, it is given to another');
  });
  worker.on('error', (error: Error) => {
    // The client's own error may carry what it was sent; that the connection is away is told where it happens.
    if (client.status !== 'ready') return;
    log.warn({ err: new Error(messageOf(error)) }, 'the queue of builds has a problem');
  });
}

interface Attending {
  readonly options: BullBuildWorkersOptions;
  readonly bull: Bull;
  readonly hands: Set<Hand>;
  readonly work: Work;
  readonly isStopping: () => boolean;
}

/** Does one job, and tells BullMQ by its way to end (return, kind of error) what becomes of it. */
function attendant(deps: Attending): (job: Job, token: string | undefined) => Promise<void> {
  const { options, bull, hands, isStopping } = deps;
  const { laterMs = 1000, connection } = options;
  /** Puts it back in its place; it does not count as a try. */
  const putBack = async (job: Job, token: string | undefined, ms: number): Promise<void> => {
    await job.moveToDelayed(connection.clock.now() + ms, token);
    throw new bull.DelayedError();
  };
  return async (job, token) => {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const hand: Hand = { id: job.id ?? '', abort: new AbortController(), lost: false, over };
    hands.add(hand);
    try {
      const verdict = isStopping() ? 'stopped' : await verdictOn(job, hand, deps);
      // Neither done nor failed here: BullMQ leaves it as it is.
      if (hand.lost) throw new bull.DelayedError();
      if (verdict === 'stopped') await putBack(job, token, 0);
      else if (verdict.kind === 'later') await putBack(job, token, laterMs);
      else if (verdict.kind === 'again') throw retried(verdict.error, bull);
    } finally {
      hands.delete(hand);
      resolve();
    }
  };
}

async function verdictOn(
  job: Job,
  hand: Hand,
  { options, work, isStopping }: Attending,
): Promise<Verdict | 'stopped'> {
  const { signal } = hand.abort;
  try {
    if (job.name !== jobOfBuild) return await runTask(job.name, signal, options);
    const number = job.attemptsMade + 1;
    const verdict = await work(hand.id, { number, last: number >= (job.opts.attempts ?? 1) }, signal);
    return signal.aborted && isStopping() && verdict.kind !== 'done' ? 'stopped' : verdict;
  } catch (error) {
    if (signal.aborted) return 'stopped';
    const { log } = options.connection;
    if (isAppError(error)) log.warn({ err: error, build: hand.id }, 'a build could not be worked on');
    else log.error({ err: error, build: hand.id }, 'a build could not be worked on');
    return { kind: 'again', error: error instanceof Error ? error : new Error(messageOf(error)) };
  }
}

async function runTask(
  name: string,
  signal: AbortSignal,
  { tasks = {}, connection: { log } }: BullBuildWorkersOptions,
): Promise<Verdict> {
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
  if (task === undefined) log.warn({ task: name }, 'this process does not know a task that is scheduled');
  try {
    await task?.(signal);
  } catch (error) {
    if (signal.aborted) throw error;
    log[isAppError(error) ? 'warn' : 'error']({ err: error, task: name }, 'a scheduled task failed');
  }
  return { kind: 'done' };
}

function retried(error: Error, bull: Bull): Error {
  if (isAppError(error) && error.retry === 'never') return new bull.UnrecoverableError(error.message);
  // BullMQ tells its own by their names.
  return error instanceof AppError ? error : new Error(error.message, { cause: error });
}
