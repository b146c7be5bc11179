import type { KubeConnection } from '@sluice/scheduler/adapters';
import { podAnnotations } from '../../services/scheduler/src/domain/pod-labels.ts';
import type { Job } from './world.ts';

interface SeenJob {
  /** Monotonic. */
  readonly at: number;
  readonly job: Job;
}

/** Jobs as the API server tells of them, by the file that they are about. */
export interface JobWatch {
  seen(key: string): Promise<SeenJob>;
  close(): Promise<void>;
}

/** Longest that a Job is waited for. */
const patienceMs = 300_000;

export async function watchJobs(kube: KubeConnection): Promise<JobWatch> {
  const jobs = new Map<string, PromiseWithResolvers<SeenJob>>();
  const of = (key: string): PromiseWithResolvers<SeenJob> => {
    const known = jobs.get(key) ?? Promise.withResolvers<SeenJob>();
    jobs.set(key, known);
    return known;
  };
  const stopping = new AbortController();
  const { resourceVersion } = await kube.list('jobs', { labels: '' });
  const take = (object: Job): void => {
    const key = keyOf(object);
    if (key !== undefined) of(key).resolve({ at: performance.now(), job: object });
  };
  const follow = async (): Promise<void> => {
    let from = resourceVersion;
    // The server ends a watch now and then; what it told last is where the next one begins.
    while (!stopping.signal.aborted) {
      for await (const { type, object } of kube.watch('jobs', { labels: '', from }, stopping.signal)) {
        if (type === 'ERROR') throw new Error(`the watch of Jobs failed: ${JSON.stringify(object)}`);
        from = (object as Job).metadata?.resourceVersion ?? from;
        if (type === 'ADDED') take(object as Job);
      }
    }
  };
  const done = follow();
  done.catch(() => undefined);
  return {
    seen: async (key) => {
      const timer = Promise.withResolvers<never>();
      const alarm = setTimeout(() => timer.reject(new Error(`no Job for ${key}`)), patienceMs);
      try {
        return await Promise.race([of(key).promise, timer.promise, ended(done)]);
      } finally {
        clearTimeout(alarm);
      }
    },
    close: async () => {
      stopping.abort();
      await done;
    },
  };
}

async function ended(watch: Promise<void>): Promise<never> {
  await watch;
  throw new Error('the watch of Jobs has ended');
}

function keyOf({ metadata }: Job): string | undefined {
  const { annotations = {} } = metadata ?? {};
  const own = annotations['bench/key'];
  if (own !== undefined) return own;
  const run = annotations[podAnnotations.run];
  return run === undefined ? undefined : (JSON.parse(run) as { input?: { key: string } }).input?.key;
}
