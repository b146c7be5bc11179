import type { Clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET, type ObjectStore } from '@sluice/shared/stores';

export interface ObjectCount {
  readonly buckets: number;
  readonly objects: number;
}

/** A count is good for so long: dashboards and OSCAR's delegation ask every few seconds. */
const freshMs = 60_000;
const pageSize = 1000;
const maxBuckets = 10_000;
/** Buckets that are looked into, and objects that are counted in each, which is OSCAR's limit (OSCAR §1.11). */
const countedBuckets = 200;
const countedObjects = 1000;

/** Counts buckets and what is in them, within limits, at most once a minute; several who ask at once share one count. */
export function createObjectCount(deps: {
  readonly objects: Pick<ObjectStore, 'listBuckets' | 'usage'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}): () => Promise<ObjectCount> {
  let last: { readonly until: number; readonly count: Promise<ObjectCount> } | undefined;
  return async () => {
    const now = deps.clock.monotonic();
    if (last !== undefined && now < last.until) return last.count;
    const current = { until: now + freshMs, count: countAll(deps.objects) };
    last = current;
    try {
      return await current.count;
    } catch (error) {
      // A failure is not kept.
      if (last === current) last = undefined;
      throw error;
    }
  };
}

async function countAll(store: Pick<ObjectStore, 'listBuckets' | 'usage'>): Promise<ObjectCount> {
  const names: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.listBuckets({ limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
    names.push(...page.items.map(({ name }) => name).filter((name) => name !== SYSTEM_BUCKET));
    cursor = page.next;
  } while (cursor !== undefined && names.length < maxBuckets);
  let objects = 0;
  for (const name of names.slice(0, countedBuckets))
    objects += (await store.usage(name, countedObjects)).objects;
  return { buckets: names.length, objects };
}
