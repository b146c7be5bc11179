import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createBullBuildQueue, createBullBuildWorkers } from '../../src/adapters/index.ts';
import type { BullBuildQueueOptions, BullBuildWorkersOptions } from '../../src/adapters/index.ts';
import type { BuildQueue, BuildWorkers, Schedules } from '../../src/index.ts';
import { connection, randomNamespace, redisUrl, removeNamespace } from './store-fixture.ts';

export type Work = Parameters<BuildWorkers['start']>[0];

export interface QueueWorld {
  readonly namespace: string;
  readonly queue: BuildQueue & Schedules;
  /** Workers as another process would have them: with connections of their own. */
  workers(work: Work, change?: Partial<BullBuildWorkersOptions>): Promise<BuildWorkers>;
  close(): Promise<void>;
}

/** Times that a test can wait for. */
export const quickStalls = { lockMs: 1000, stallCheckMs: 500 };

export function openQueue(
  change: Partial<BullBuildQueueOptions> = {},
  url = redisUrl(),
  namespace = randomNamespace(),
): QueueWorld {
  const queue = createBullBuildQueue({ connection: connection(namespace, url), backoffMs: 10, ...change });
  const started: BuildWorkers[] = [];
  return {
    namespace,
    queue,
    workers: async (work, options = {}) => {
      const workers = createBullBuildWorkers({
        connection: connection(namespace, url),
        concurrency: 1,
        laterMs: 50,
        ...quickStalls,
        ...options,
      });
      started.push(workers);
      await workers.start(work);
      return workers;
    },
    close: async () => {
      await Promise.all(started.map(async (workers) => workers.stop(0)));
      await queue.close();
      await removeNamespace(namespace, url);
    },
  };
}

export interface WorkerChild {
  /** What it said: `has <build>`, `aborted <build>`. */
  readonly said: readonly string[];
  signal(name: NodeJS.Signals): void;
  /** As a crash: nothing is told to anybody. */
  kill(): Promise<void>;
}

/** A process that takes builds and never ends one. */
export function spawnWorker(namespace: string, url = redisUrl()): WorkerChild {
  const file = fileURLToPath(new URL('bull-endless-worker.ts', import.meta.url));
  const child = spawn(process.execPath, [file, namespace, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
  return {
    said,
    signal: (name) => child.kill(name),
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
