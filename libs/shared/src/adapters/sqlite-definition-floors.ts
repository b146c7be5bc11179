import type { DefinitionStore, Floor, NewDefinition } from '../stores/index.ts';
import { pathOf, prefixesOf } from './definition-rules.ts';
import type { Database } from './sqlite-database.ts';

export interface Floors {
  readonly of: DefinitionStore['floors'];
  readonly raise: DefinitionStore['raiseFloor'];
  readonly lowest: DefinitionStore['lowestFloor'];
  /** Sets the floors of new prefixes and drops those of prefixes that are input no more; inside a transaction. */
  put(uid: string, input: NewDefinition): void;
  /** Drops all floors of a service; inside a transaction. */
  removeAll(uid: string): void;
}

export function createFloors(db: Database): Floors {
  const select = db.prepare<Floor>(
    'SELECT bucket, prefix, at FROM definition_floors WHERE uid = ? ORDER BY bucket, prefix',
  );
  const insert = db.prepare(
    'INSERT INTO definition_floors (uid, bucket, prefix, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const raise = db.prepare(
    'UPDATE definition_floors SET at = ? WHERE uid = ? AND bucket = ? AND prefix = ? AND at < ?',
  );
  const lowest = db.prepare<{ at: number | null }>('SELECT min(at) AS at FROM definition_floors');
  const remove = db.prepare('DELETE FROM definition_floors WHERE uid = ? AND bucket = ? AND prefix = ?');
  const removeAll = db.prepare('DELETE FROM definition_floors WHERE uid = ?');
  const read = (uid: string): readonly Floor[] => select.all(uid).map((row) => ({ ...row }));
  return {
    of: async (uid) => db.read(() => read(uid)),
    raise: async (uid, { bucket, prefix, at }) => {
      await db.write(() => raise.run(at, uid, bucket, prefix, at));
    },
    lowest: async () => db.read(() => lowest.get()?.at ?? undefined),
    put: (uid, input) => {
      const kept = prefixesOf(input);
      for (const { bucket, prefix } of read(uid)) {
        // A floor that nobody raises any more would hold back the expiry of claims for ever.
        if (!kept.has(pathOf(bucket, prefix))) remove.run(uid, bucket, prefix);
      }
      for (const { bucket, prefix, at } of input.floors) insert.run(uid, bucket, prefix, at);
    },
    removeAll: (uid) => {
      removeAll.run(uid);
    },
  };
}
