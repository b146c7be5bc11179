import { AppError } from '../errors/index.ts';
import { subjectToken } from '../contracts/index.ts';
import type { DefinitionStore, Floor } from '../stores/index.ts';
import { pathOf } from './definition-rules.ts';
import type { FirstFloor } from './nats-definition-record.ts';
import { isOutrun, type NatsDefinitions, readByUid } from './nats-definition-reads.ts';
import { readAll } from './nats-kv-feed.ts';
import type { NatsEntry } from './nats-kv.ts';

const maxTries = 20;

/** Floors begin in the definition itself; of a raised one the higher of both counts. */
export function createNatsFloors(
  parts: NatsDefinitions,
): Pick<DefinitionStore, 'floors' | 'raiseFloor' | 'lowestFloor'> {
  const { nats, raised, mirror } = parts;
  return {
    floors: async (uid) => {
      const found = await readByUid(parts, uid);
      return Promise.all(
        (found?.record.floors ?? []).map(async ({ since, ...floor }) => {
          const entry = await raised.get(floorKey(uid, { ...floor, since }));
          return { ...floor, at: Math.max(floor.at, raisedTo(entry)) };
        }),
      );
    },
    raiseFloor: async (uid, { bucket, prefix, at }) => {
      const found = await readByUid(parts, uid);
      const floor = found?.record.floors.find((one) => one.bucket === bucket && one.prefix === prefix);
      if (floor !== undefined && floor.at < at) await raise(parts, floorKey(uid, floor), at);
    },
    lowestFloor: async () => {
      const known = await mirror.current();
      // Read afterwards: floors only rise, so that an older one is only more careful.
      const entries = await readAll(nats, raised, { values: true });
      const byKey = new Map(entries.map((entry) => [entry.key, entry]));
      const all = [...known.values()].flatMap(({ uid, floors }) =>
        floors.map((floor) => Math.max(floor.at, raisedTo(byKey.get(floorKey(uid, floor))))),
      );
      return all.length === 0 ? undefined : all.reduce((lowest, at) => Math.min(lowest, at));
    },
  };
}

/** Another one where a prefix goes and comes again: what was raised before does not count then. */
export function floorKey(uid: string, { bucket, prefix, since }: FirstFloor): string {
  return `${subjectToken(uid)}.${since}.${subjectToken(pathOf(bucket, prefix))}`;
}

async function raise({ raised }: NatsDefinitions, key: string, at: Floor['at']): Promise<void> {
  for (let tries = 0; tries < maxTries; tries += 1) {
    const entry = await raised.get(key);
    if (raisedTo(entry) >= at) return;
    try {
      await raised.write(key, JSON.stringify(at), entry?.revision ?? 0);
      return;
    } catch (error) {
      if (!isOutrun(error)) throw error;
    }
  }
  throw new AppError('unavailable', 'Others raise the same floor; try again.', { retryAfterSeconds: 1 });
}

function raisedTo(entry: Pick<NatsEntry, 'value'> | { readonly value: undefined } | undefined): number {
  if (entry?.value === undefined) return Number.NEGATIVE_INFINITY;
  return Number(Buffer.from(entry.value).toString('utf8'));
}
