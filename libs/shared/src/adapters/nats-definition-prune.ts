import type { DefinitionStore } from '../stores/index.ts';
import { mapLimited } from './folder-limits.ts';
import { floorKey } from './nats-definition-floors.ts';
import type { Known } from './nats-definition-mirror.ts';
import { type NatsDefinitions, secretsKey, versionKey } from './nats-definition-reads.ts';
import { type FeedEntry, readAll } from './nats-kv-feed.ts';
import type { NatsBucket } from './nats-kv.ts';

/** What is younger may belong to a change that is being made. */
const settleMs = 600_000;
/** Requests under way at the same time. */
const atOnce = 32;

/**
 * Takes away versions that are over, and what changes that never came through have left: all of it is either referred to
 * by the versions that stay, or old. Several may do it at the same time.
 */
export function createPruner(parts: NatsDefinitions): DefinitionStore['pruneVersions'] {
  const { nats, byName, versions, sealed, raised, mirror, clock } = parts;
  return async ({ before, inUse }) => {
    const orphanBefore = Math.min(before, clock.now() - settleMs);
    // Listed before the definitions are looked at: what comes later is not in these lists.
    const kept = await readAll(nats, versions, { values: false });
    const secrets = await readAll(nats, sealed, { values: false });
    const floors = await readAll(nats, raised, { values: false });
    const names = await readAll(nats, byName, { values: false });
    const current = inForce((await mirror.current()).values());

    const copies = kept.filter(({ key }) => !key.endsWith('.name'));
    const over = copies.filter(
      ({ key, storedAt }) =>
        storedAt < before && !current.versions.has(key) && !inUse.has(key.replace('.', '/')),
    );
    const gone = new Set(over.map(({ key }) => key));
    const stays = new Set([
      ...current.versions,
      ...copies.map(({ key }) => key).filter((key) => !gone.has(key)),
    ]);
    const uids = new Set([...stays].map(uidOf));
    const orphaned = (entry: FeedEntry, referred: boolean): boolean =>
      !referred && entry.storedAt < orphanBefore;

    await erase(
      sealed,
      // The secrets of a version go with it, and before it: nothing is left that nobody finds again.
      secrets.filter((it) => {
        const version = versionOf(it.key);
        // Of a version that is over it is not looked up which of several are its own; they all go with it.
        const referred = current.versions.has(version) ? current.secrets.has(it.key) : stays.has(version);
        return gone.has(version) || orphaned(it, referred);
      }),
    );
    await erase(versions, over);
    await erase(
      versions,
      kept.filter((it) => it.key.endsWith('.name') && orphaned(it, uids.has(uidOf(it.key)))),
    );
    await erase(
      raised,
      floors.filter((it) => orphaned(it, current.floors.has(it.key))),
    );
    // Markers of removed services, once every watcher has long seen them.
    await erase(
      byName,
      names.filter((it) => it.value === undefined && it.storedAt < orphanBefore),
    );
    return over.length;
  };
}

interface Referred {
  readonly versions: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
  readonly floors: ReadonlySet<string>;
}

/** The keys that definitions in force refer to. */
function inForce(known: Iterable<Known>): Referred {
  const all = [...known];
  return {
    versions: new Set(all.map(({ uid, version }) => versionKey(uid, version))),
    secrets: new Set(all.map((it) => secretsKey(it))),
    floors: new Set(all.flatMap(({ uid, floors }) => floors.map((floor) => floorKey(uid, floor)))),
  };
}

/** By revision: what was written to the same key meanwhile stays. */
async function erase(bucket: NatsBucket, entries: readonly FeedEntry[]): Promise<void> {
  await mapLimited(entries, atOnce, async ({ revision }) => bucket.erase(revision));
}

function uidOf(key: string): string {
  return key.slice(0, key.indexOf('.'));
}

/** `<uid>.<version>` of a longer key. */
function versionOf(key: string): string {
  return key.split('.', 2).join('.');
}
