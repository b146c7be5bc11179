import type { Clock } from '@sluice/shared/lifecycle';
import {
  splitPath,
  type BucketPath,
  type DefinitionStore,
  type StoredDefinition,
  type Watch,
} from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { RunService } from '../domain/build-run.ts';
import { createServiceIndex, type InputService, type ServiceIndex } from '../domain/match.ts';

/** A service as storage-events needs it. */
export interface KnownService extends InputService, RunService {
  /** Epoch milliseconds; stands in for a floor that the store does not have. */
  readonly updatedAt: number;
  /**
   * Monotonic milliseconds since when this process knows of each input path, by `pathKey`. What is first seen later came
   * later, whatever any clock says. Minus infinity for paths that were there when the process started.
   */
  readonly knownSince: ReadonlyMap<string, number>;
}

/** The services there are, without secrets, as this process last heard. */
export interface DefinitionCache {
  /** @param onChange gets the uid of a service that came, changed its inputs or went, and the paths that are new in it */
  start(onChange: (uid: string, appeared: readonly BucketPath[]) => void): Promise<void>;
  stop(): Promise<void>;
  index(): ServiceIndex<KnownService>;
}

/** One text for a path; no bucket name has a slash. */
export function pathKey(path: BucketPath): string {
  return `${path.bucket}/${path.prefix}`;
}

export function createDefinitionCache(deps: {
  definitions: DefinitionStore;
  clock: Clock;
  log: Logger;
}): DefinitionCache {
  const byName = new Map<string, KnownService>();
  let index: ServiceIndex<KnownService> | undefined;
  let watch: Watch | undefined;
  const put = (stored: StoredDefinition, now: number): readonly BucketPath[] | undefined => {
    const before = byName.get(stored.name);
    const service = knownService(stored, before, now, deps.log);
    byName.set(stored.name, service);
    index = undefined;
    if (before?.uid !== service.uid) return service.inputs;
    const appeared = service.inputs.filter((path) => !before.knownSince.has(pathKey(path)));
    return appeared.length === 0 && before.inputs.length === service.inputs.length ? undefined : appeared;
  };
  return {
    start: async (onChange) => {
      let listening = false;
      watch = await deps.definitions.watch((change) => {
        if (change.kind === 'put') {
          const now = listening ? deps.clock.monotonic() : Number.NEGATIVE_INFINITY;
          const appeared = put(change.stored, now);
          if (listening && appeared !== undefined) onChange(change.stored.uid, appeared);
          return;
        }
        if (byName.get(change.name)?.uid !== change.uid) return;
        byName.delete(change.name);
        index = undefined;
        if (listening) onChange(change.uid, []);
      });
      listening = true;
    },
    stop: async () => {
      await watch?.stop();
    },
    index: () => {
      index ??= createServiceIndex(byName.values());
      return index;
    },
  };
}

/** The one service definition from the store, where the cache may be behind. */
export function serviceOf(stored: StoredDefinition, log: Logger): KnownService {
  return knownService(stored, undefined, Number.NEGATIVE_INFINITY, log);
}

function knownService(
  stored: StoredDefinition,
  before: KnownService | undefined,
  now: number,
  log: Logger,
): KnownService {
  const inputs = inputsOf(stored, log);
  const known = before?.uid === stored.uid ? before.knownSince : undefined;
  return {
    name: stored.name,
    uid: stored.uid,
    inputs,
    region: stored.definition.storage_providers?.minio?.['default']?.region ?? '',
    updatedAt: stored.updated_at,
    knownSince: new Map(inputs.map((path) => [pathKey(path), known?.get(pathKey(path)) ?? now])),
  };
}

/** Input paths in this installation's own store, each once; other stores' events come by other ways. */
function inputsOf(stored: StoredDefinition, log: Logger): readonly BucketPath[] {
  const paths = new Map<string, BucketPath>();
  for (const [at, input] of stored.definition.input.entries()) {
    if (!/^minio(?:\.default)?$/i.test(input.storage_provider)) continue;
    try {
      const path = splitPath(input.path, `input[${at}].path`);
      paths.set(pathKey(path), path);
    } catch (error) {
      // Checked when the service was applied; one bad path must not take the other services with it.
      log.error(
        { err: error, service: stored.name },
        'an input path of a stored service is not valid, it is left out',
      );
    }
  }
  return [...paths.values()];
}
