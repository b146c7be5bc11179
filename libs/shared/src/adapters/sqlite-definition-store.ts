import type { ServiceDefinition } from '../contracts/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { DefinitionChange, DefinitionStore, NewDefinition, StoredDefinition } from '../stores/index.ts';
import { checkUpdate, nameTaken, newUid, refuseSecrets, serviceGone } from './definition-rules.ts';
import { checkLimit } from './page-limit.ts';
import type { SecretBox } from './secret-box.ts';
import { decodeCursor, encodeCursor } from './sqlite-cursor.ts';
import type { Database } from './sqlite-database.ts';
import { createFloors, type Floors } from './sqlite-definition-floors.ts';
import { createSqliteSecrets, type SqliteSecrets } from './sqlite-definition-secrets.ts';
import type { Transaction } from './sqlite-transaction.ts';

export interface SqliteDefinitionStoreOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** Random bytes (`randomBytes` of `node:crypto`), for uids. */
  readonly random: (size: number) => Uint8Array;
  /** Encrypts secrets; without it they are stored as they are. */
  readonly box?: SecretBox;
}

export interface SqliteDefinitionStore extends DefinitionStore {
  /**
   * Writes secrets anew that are in clear (as earlier versions stored them) or under another key than the first one.
   * @returns how many were
   */
  reencrypt(): Promise<number>;
}

interface Row {
  readonly uid: string;
  readonly version: number;
  readonly name: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly definition: string;
}

const columns = 'v.uid, v.version, v.name, v.created_at, v.updated_at, v.definition';
const inForce = `SELECT ${columns} FROM definitions d JOIN definition_versions v ON v.uid = d.uid AND v.version = d.version`;
const cursorKind = 'service';
/** Versions dropped in one transaction. */
const pruneStep = 500;

/**
 * The services of one installation. Watchers are functions of this process, called after the commit.
 * @throws AppError `conflict` when the database has a definition store already
 */
export function createSqliteDefinitionStore(options: SqliteDefinitionStoreOptions): SqliteDefinitionStore {
  const { db } = options;
  db.occupy('definitions');
  const floors = createFloors(db);
  const secrets = createSqliteSecrets(db, options.box);
  const listeners = new Set<(change: DefinitionChange) => void>();
  const announce = (transaction: Transaction, change: DefinitionChange): void => {
    transaction.afterCommit(() => {
      for (const listener of listeners) listener(change);
    });
  };
  const all = db.prepare<Row>(`${inForce} ORDER BY d.name`);
  return {
    ...createWrites(options, { floors, secrets }, announce),
    ...createReads(db),
    secrets: async (uid, version) => secrets.read(uid, version),
    reencrypt: secrets.reencrypt,
    watch: async (listener) => {
      // In one step with the listing: no change comes between the two.
      for (const row of db.read(() => all.all())) listener({ kind: 'put', stored: toStored(row) });
      // Its own function, so that the same listener can be there twice.
      const entry = (change: DefinitionChange): void => listener(change);
      listeners.add(entry);
      return {
        stop: async () => {
          listeners.delete(entry);
        },
      };
    },
    floors: floors.of,
    raiseFloor: floors.raise,
    lowestFloor: floors.lowest,
    pruneVersions: pruner(db),
  };
}

function toStored({ definition, ...row }: Row): StoredDefinition {
  return { ...row, definition: JSON.parse(definition) as ServiceDefinition };
}

function createReads(db: Database): Pick<DefinitionStore, 'get' | 'getVersion' | 'list'> {
  const byName = db.prepare<Row>(`${inForce} WHERE d.name = ?`);
  const byVersion = db.prepare<Row>(
    `SELECT ${columns} FROM definition_versions v WHERE v.uid = ? AND v.version = ?`,
  );
  const page = db.prepare<Row>(`${inForce} WHERE d.name > ? ORDER BY d.name LIMIT ?`);
  const stored = (row: Row | undefined): StoredDefinition | undefined =>
    row === undefined ? undefined : toStored(row);
  return {
    get: async (name) => stored(db.read(() => byName.get(name))),
    getVersion: async (uid, version) => stored(db.read(() => byVersion.get(uid, version))),
    list: async ({ limit, cursor }) => {
      checkLimit(limit);
      const after = cursor === undefined ? '' : decodeCursor(cursorKind, cursor);
      const rows = db.read(() => page.all(after, limit + 1));
      const items = rows.slice(0, limit).map(toStored);
      const last = items.at(-1);
      if (rows.length <= limit || last === undefined) return { items };
      return { items, next: encodeCursor(cursorKind, last.name) };
    },
  };
}

/** A version with what belongs to it. */
interface Version {
  readonly uid: string;
  readonly version: number;
  /** Undefined for the first one, which is being made. */
  readonly createdAt: number | undefined;
}

function createWrites(
  options: SqliteDefinitionStoreOptions,
  { floors, secrets }: { readonly floors: Floors; readonly secrets: SqliteSecrets },
  announce: (transaction: Transaction, change: DefinitionChange) => void,
): Pick<DefinitionStore, 'create' | 'update' | 'remove'> {
  const { db, clock } = options;
  const current = db.prepare<Row>(`${inForce} WHERE d.name = ?`);
  const byUid = db.prepare<Row>(
    `SELECT ${columns} FROM definition_versions v WHERE v.uid = ? AND v.ended_at IS NULL`,
  );
  const point = db.prepare('INSERT OR REPLACE INTO definitions (name, uid, version) VALUES (?, ?, ?)');
  const unpoint = db.prepare('DELETE FROM definitions WHERE name = ?');
  const end = db.prepare('UPDATE definition_versions SET ended_at = ? WHERE uid = ? AND ended_at IS NULL');
  const insert = versionInserter(db, secrets);
  const now = (): number => Math.floor(clock.now());

  const put = (transaction: Transaction, input: NewDefinition, version: Version): StoredDefinition => {
    const at = now();
    end.run(at, version.uid);
    const stored = insert(input, version, at);
    point.run(stored.name, stored.uid, stored.version);
    floors.put(stored.uid, input);
    announce(transaction, { kind: 'put', stored });
    return stored;
  };

  return {
    create: async (input) => {
      refuseSecrets(input.definition);
      const uid = newUid(options.random);
      return db.write((transaction) => {
        if (current.get(input.definition.name) !== undefined) throw nameTaken(input.definition.name);
        return put(transaction, input, { uid, version: 1, createdAt: undefined });
      });
    },
    update: async ({ uid, version }, input) => {
      refuseSecrets(input.definition);
      return db.write((transaction) => {
        const before = byUid.get(uid);
        if (before === undefined) throw serviceGone();
        checkUpdate(before, version, input);
        return put(transaction, input, { uid, version: version + 1, createdAt: before.created_at });
      });
    },
    remove: async (name) =>
      db.write((transaction) => {
        const row = current.get(name);
        if (row === undefined) return undefined;
        end.run(now(), row.uid);
        unpoint.run(name);
        floors.removeAll(row.uid);
        announce(transaction, { kind: 'removed', name, uid: row.uid });
        return toStored(row);
      }),
  };
}

function versionInserter(
  db: Database,
  sealed: SqliteSecrets,
): (input: NewDefinition, version: Version, at: number) => StoredDefinition {
  const insert = db.prepare(
    `INSERT INTO definition_versions (uid, version, name, created_at, updated_at, definition) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  return ({ definition, secrets }, { uid, version, createdAt }, at) => {
    const { name } = definition;
    // A first version was made when it was last changed: one look at the clock for both.
    const created = createdAt ?? at;
    const json = JSON.stringify(definition);
    insert.run(uid, version, name, created, at, json);
    sealed.insert(uid, version, secrets);
    // As a reader gets it: parsed anew, nobody else's object.
    return toStored({ uid, version, name, created_at: created, updated_at: at, definition: json });
  };
}

function pruner(db: Database): DefinitionStore['pruneVersions'] {
  const ended = db.prepare<{ rowid: number; uid: string; version: number }>(
    `SELECT rowid, uid, version FROM definition_versions
     WHERE ended_at IS NOT NULL AND ended_at < ? AND rowid > ? ORDER BY rowid LIMIT ?`,
  );
  const drop = db.prepare('DELETE FROM definition_versions WHERE rowid = ?');
  const dropSecrets = db.prepare('DELETE FROM definition_secrets WHERE uid = ? AND version = ?');
  return async ({ before, inUse }) => {
    let dropped = 0;
    let after = -1;
    for (;;) {
      const rows = db.read(() => ended.all(Math.ceil(before), after, pruneStep));
      const last = rows.at(-1);
      if (last === undefined) return dropped;
      after = last.rowid;
      const free = rows.filter(({ uid, version }) => !inUse.has(`${uid}/${version}`));
      if (free.length === 0) continue;
      await db.write(() => {
        for (const { rowid, uid, version } of free) {
          drop.run(rowid);
          dropSecrets.run(uid, version);
        }
      });
      dropped += free.length;
    }
  };
}
