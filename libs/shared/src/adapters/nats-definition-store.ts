import type { DefinitionStore } from '../stores/index.ts';
import { createNatsFloors } from './nats-definition-floors.ts';
import { createMirror, type Mirror } from './nats-definition-mirror.ts';
import { createPruner } from './nats-definition-prune.ts';
import {
  type NatsDefinitions,
  type NatsDefinitionStoreOptions,
  readByName,
  readVersion,
} from './nats-definition-reads.ts';
import { decodeRecord, storedOf } from './nats-definition-record.ts';
import { createNatsSecrets } from './nats-definition-secrets.ts';
import { createNatsWrites } from './nats-definition-writes.ts';
import { dropBucket, type NatsKvOptions, openBucket } from './nats-kv.ts';
import { checkLimit } from './page-limit.ts';
import { decodeCursor, encodeCursor } from './sqlite-cursor.ts';

export interface NatsDefinitionStore extends DefinitionStore {
  /**
   * Writes secrets that are under another key than the first one anew; safe to do by several at once.
   * @returns how many were
   * @throws AppError `unavailable` where a record's key is not among those given
   */
  reencrypt(): Promise<number>;
  /** Ends watches; what others have stored stays. */
  close(): Promise<void>;
}

const purposes = { byName: 'definitions', versions: 'versions', sealed: 'secrets', raised: 'floors' };
const cursorKind = 'service';

/**
 * The services of one installation, in KV buckets of JetStream. KV knows no change of several keys at once, so each
 * change is one write to the key of the name, made only where that key is still as it was read; what it refers to is
 * written before, what it supersedes is copied before. A process that dies in between leaves only what nobody refers to,
 * which `pruneVersions` takes away.
 */
export async function createNatsDefinitionStore(
  options: NatsDefinitionStoreOptions,
): Promise<NatsDefinitionStore> {
  const [byName, versions, sealed, raised] = await Promise.all([
    openBucket(options, purposes.byName),
    openBucket(options, purposes.versions),
    openBucket(options, purposes.sealed),
    openBucket(options, purposes.raised),
  ]);
  const mirror = createMirror({ ...options, bucket: byName });
  const parts: NatsDefinitions = { ...options, byName, versions, sealed, raised, mirror };
  const secrets = createNatsSecrets(parts);
  const floors = createNatsFloors(parts);
  return {
    ...createNatsWrites(parts, secrets),
    get: async (name) => {
      const found = await readByName(parts, name);
      return found === undefined ? undefined : storedOf(found.record);
    },
    getVersion: async (uid, version) => {
      const record = await readVersion(parts, uid, version);
      return record === undefined ? undefined : storedOf(record);
    },
    secrets: async (uid, version) => {
      const record = await readVersion(parts, uid, version);
      return record === undefined ? undefined : secrets.read(record);
    },
    list: lister(mirror),
    watch: async (listener) => mirror.watch(listener),
    ...floors,
    pruneVersions: createPruner(parts),
    reencrypt: secrets.reencrypt,
    close: async () => mirror.close(),
  };
}

/** Removes all that the store of a namespace has kept. */
export async function dropNatsDefinitionStore(options: NatsKvOptions): Promise<void> {
  await Promise.all(Object.values(purposes).map(async (purpose) => dropBucket(options, purpose)));
}

function lister(mirror: Mirror): DefinitionStore['list'] {
  return async ({ limit, cursor }) => {
    checkLimit(limit);
    const after = cursor === undefined ? '' : decodeCursor(cursorKind, cursor);
    const known = [...(await mirror.current()).values()].filter(({ name }) => name > after);
    const page = known.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, limit);
    const items = page.map(({ bytes }) => storedOf(decodeRecord(bytes)));
    const last = items.at(-1);
    if (known.length <= limit || last === undefined) return { items };
    return { items, next: encodeCursor(cursorKind, last.name) };
  };
}
