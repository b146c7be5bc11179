import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, DefinitionStore, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { effectiveFloor } from '../domain/floors.ts';
import { pathKey, type KnownService } from './definitions.ts';

/** Where each input path of each service begins to count, as it is in effect (`effectiveFloor`). */
export interface FloorBook {
  /** Reads a service's floors anew. @param now the store's clock */
  refresh(service: KnownService, now: number): Promise<void>;
  /** The floor of a path; read from the store where it is not known yet. */
  of(service: KnownService, path: BucketPath): Promise<number>;
  raise(service: KnownService, path: BucketPath, at: number): Promise<void>;
  forget(uid: string): void;
}

/** Another replica may raise a floor; far less than claims are kept. */
const freshMs = 600_000;

export function createFloorBook(deps: {
  definitions: DefinitionStore;
  objects: ObjectStore;
  clock: Clock;
  log: Logger;
}): FloorBook {
  const { definitions, objects, clock, log } = deps;
  const readAt = new Map<string, number>();
  const byUid = new Map<string, Map<string, number>>();
  const warned = new Set<string>();
  const refresh = async (service: KnownService, now: number): Promise<Map<string, number>> => {
    const stored = new Map(
      (await definitions.floors(service.uid)).map((floor) => [pathKey(floor), floor.at]),
    );
    const before = byUid.get(service.uid);
    const floors = new Map<string, number>();
    for (const path of service.inputs) {
      const key = pathKey(path);
      // The store writes both in one step. Without a floor, what was there before the definition does not count.
      const at = stored.get(key) ?? service.updatedAt;
      floors.set(key, effectiveFloor(at, now, before?.get(key)));
      if (at > now && !warned.has(service.uid)) {
        warned.add(service.uid);
        log.warn(
          { service: service.name, path: key, floor: at, now },
          'the clock was set back: files that arrived unseen before now are run by a backfill only',
        );
      }
    }
    byUid.set(service.uid, floors);
    readAt.set(service.uid, clock.monotonic());
    return floors;
  };
  return {
    refresh: async (service, now) => {
      await refresh(service, now);
    },
    of: async (service, path) => {
      const isFresh = clock.monotonic() - (readAt.get(service.uid) ?? Number.NEGATIVE_INFINITY) < freshMs;
      const known = isFresh ? byUid.get(service.uid)?.get(pathKey(path)) : undefined;
      if (known !== undefined) return known;
      const floors = await refresh(service, await objects.now());
      return floors.get(pathKey(path)) ?? service.updatedAt;
    },
    raise: async (service, path, at) => {
      await definitions.raiseFloor(service.uid, { ...path, at });
      byUid.get(service.uid)?.set(pathKey(path), at);
    },
    forget: (uid) => {
      byUid.delete(uid);
      readAt.delete(uid);
      warned.delete(uid);
    },
  };
}
