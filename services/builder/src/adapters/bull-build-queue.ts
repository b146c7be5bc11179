import { openRedisClient, type RedisClient, type RedisConnectionOptions } from '@sluice/shared/adapters';
import type { Queue } from 'bullmq';
import type { BuildQueue, Schedules } from '../ports.ts';
import { bullPlace, bullQueueName, greatestPriority, isBullId, jobOfBuild } from './bull-names.ts';

export interface BullBuildQueueOptions {
  readonly connection: RedisConnectionOptions;
  /** Tries of a build that fails for causes that pass. @default 5 */
  readonly attempts?: number;
  /** Milliseconds before the second one; twice as many before each further one. @default 5000 */
  readonly backoffMs?: number;
}

/** Jobs leave nothing behind when they have ended: what became of a build is in the store, and an id that is still there could not be added again. */
const leavesNothing = { removeOnComplete: true, removeOnFail: true, stackTraceLimit: 0 } as const;

/** The side of the queue that gives builds to it. While Redis is away everything rejects at once with `unavailable`. */
export function createBullBuildQueue(options: BullBuildQueueOptions): BuildQueue & Schedules {
  const { connection, attempts = 5, backoffMs = 5000 } = options;
  const { call, check, close } = openedQueue(connection);
  return {
    add: async ({ id, order }) => {
      if (!isBullId(id)) throw new Error(`the queue cannot take a build of the id ${id}`);
      await call(async (queue) => {
        await queue.add(
          jobOfBuild,
          {},
          {
            ...leavesNothing,
            jobId: id,
            priority: Math.min(Math.max(Math.floor(order), 1), greatestPriority),
            attempts,
            backoff: { type: 'exponential', delay: backoffMs, jitter: 0.2 },
          },
        );
      });
    },
    remove: async (id) => {
      // One that is under way is locked, and left.
      await call(async (queue) => queue.remove(id));
    },
    depth: async () =>
      call(async (queue) => {
        const [waiting, active] = [
          await queue.getRanges(['wait', 'prioritized', 'delayed'], 0, -1),
          await queue.getRanges(['active'], 0, -1),
        ];
        // Those of schedules have colons.
        return { waiting: waiting.filter(isBullId).length, active: active.filter(isBullId).length };
      }),
    pause: async () => call(async (queue) => queue.pause()),
    resume: async () => call(async (queue) => queue.resume()),
    once: async (name) => {
      checkName(name);
      // Its id is a number, which no build has.
      await call(async (queue) => queue.add(name, {}, leavesNothing));
    },
    set: async (name, everyMs) => {
      checkName(name);
      await call(async (queue) => {
        if (everyMs === undefined) await queue.removeJobScheduler(name);
        else
          await queue.upsertJobScheduler(
            name,
            { every: Math.max(1, Math.floor(everyMs)) },
            { name, opts: leavesNothing },
          );
      });
    },
    check,
    close,
  };
}

function checkName(name: string): void {
  if (!/^[a-z][a-z-]*$/.test(name) || name === jobOfBuild) throw new Error(`no name of a schedule: ${name}`);
}

interface OpenedQueue {
  /** @throws AppError `unavailable`, `storage_full` */
  call<T>(work: (queue: Queue) => Promise<T>): Promise<T>;
  check(): Promise<void>;
  close(): Promise<void>;
}

/** BullMQ's object is made when the connection is there: one that was made before would keep its callers waiting until then. */
function openedQueue(connection: RedisConnectionOptions): OpenedQueue {
  let redis: Promise<RedisClient> | undefined;
  let queue: Promise<Queue> | undefined;
  const connected = async (): Promise<RedisClient> => {
    redis ??= openRedisClient(connection);
    return redis;
  };
  const ready = async ({ client }: RedisClient): Promise<Queue> => {
    if (client.status !== 'ready') throw new Error('no connection');
    queue ??= makeQueue(client, connection.namespace);
    try {
      return await queue;
    } catch (error) {
      queue = undefined;
      throw error;
    }
  };
  return {
    call: async (work) => {
      const opened = await connected();
      return opened.call(async () => work(await ready(opened)));
    },
    check: async () => {
      const { client, call } = await connected();
      await call(async () => client.ping());
    },
    close: async () => {
      await (await queue?.catch(() => undefined))?.close();
      await (await redis?.catch(() => undefined))?.close();
    },
  };
}

async function makeQueue(client: RedisClient['client'], namespace: string): Promise<Queue> {
  // Loaded only where it is used.
  const { Queue: BullQueue } = await import('bullmq');
  const queue = new BullQueue(bullQueueName, {
    connection: client,
    prefix: bullPlace(namespace),
    streams: { events: { maxLen: 1000 } },
  });
  // The client's own errors, which are told where they happen.
  queue.on('error', () => undefined);
  await queue.waitUntilReady();
  return queue;
}
