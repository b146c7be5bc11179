import { createPeriodic, type Clock } from '../lifecycle/index.ts';
import { SYSTEM_BUCKET, type ObjectStore } from './object-store.ts';
import type { Logger } from '../telemetry/index.ts';

const dayMs = 86_400_000;

/**
 * Daily work on the objects: records of object states that are gone, and large events that nobody can need any more.
 * An event is put again whenever a call carries it, so that its age says how long it has not been used; it is kept three times as long as records of
 * runs, and 90 days at least, which leaves room for long queues.
 * @param recordsMs milliseconds that records of finished runs are kept
 */
export function createObjectUpkeep(deps: {
  /** A store that keeps records of its own beside the objects removes those of states that are gone. */
  objects: ObjectStore & { pruneRecords?(): Promise<number> };
  recordsMs: number;
  clock: Clock;
  log: Logger;
}): { stop(): Promise<void> } {
  const { objects, clock, log } = deps;
  return createPeriodic({ name: 'upkeep', everyMs: dayMs, clock, log }, async () => {
    const records = (await objects.pruneRecords?.()) ?? 0;
    const events = await removeOldEvents(objects, clock.now() - Math.max(90 * dayMs, 3 * deps.recordsMs));
    log.info({ records, events }, 'upkeep of the objects done');
  });
}

/** @returns how many were removed */
export async function removeOldEvents(
  objects: Pick<ObjectStore, 'list' | 'remove'>,
  before: number,
): Promise<number> {
  let removed = 0;
  let after: string | undefined;
  do {
    const query = { prefix: 'events/', limit: 1000, ...(after === undefined ? {} : { after }) };
    const page = await objects.list(SYSTEM_BUCKET, query);
    for (const object of page.objects) {
      if (object.lastModified >= before) continue;
      await objects.remove(SYSTEM_BUCKET, object.key);
      removed += 1;
    }
    after = page.next;
  } while (after !== undefined);
  return removed;
}
