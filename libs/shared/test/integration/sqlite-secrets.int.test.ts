import { createSecretKey, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createSecretBox,
  createSqliteDefinitionStore,
  type MasterKey,
  type SqliteDefinitionStore,
} from '@sluice/shared/adapters';
import type { ServiceSecrets } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import type { NewDefinition } from '@sluice/shared/stores';
import { definitionOf, describeDefinitionStore } from '@sluice/shared/testing';
import { migrations } from '../../src/adapters/sqlite-schema.ts';
import { harnessOf, open, tempDatabase } from './sqlite-fixture.ts';

const keyOf = (id: string): MasterKey => ({ id, key: createSecretKey(randomBytes(32)) });
const first = keyOf('first');
const second = keyOf('second');

function storeOf(db: ReturnType<typeof open>, ...keys: readonly MasterKey[]): SqliteDefinitionStore {
  const [one, ...others] = keys;
  const box =
    one === undefined ? {} : { box: createSecretBox({ keys: [one, ...others], random: randomBytes }) };
  return createSqliteDefinitionStore({ db, clock: systemClock, random: randomBytes, ...box });
}

describeDefinitionStore('SQLite, encrypted', async () => {
  const { it: store, ...rest } = await harnessOf((db) => storeOf(db, first));
  return { store, ...rest };
});

const password = 'correct horse battery staple';

function input(name: string, secrets: Partial<ServiceSecrets> = {}): NewDefinition {
  return {
    definition: definitionOf(name),
    secrets: { token: 'c0ffee'.repeat(10), environment: { PASSWORD: password }, ...secrets },
    floors: [],
  };
}

describe('secrets in the database file', () => {
  let path: string;
  let remove: () => Promise<void>;
  beforeEach(async () => {
    ({ path, remove } = await tempDatabase());
  });
  afterEach(async () => remove());

  /** Which of the files of the database show a secret. */
  async function leaks(): Promise<readonly string[]> {
    const names = await readdir(dirname(path));
    const contents = await Promise.all(names.map(async (name) => readFile(join(dirname(path), name))));
    return names.filter(
      (_name, at) => contents[at]?.includes(password) || contents[at]?.includes('c0ffeec0ffee'),
    );
  }

  it('are not readable, neither while it is open nor after', async () => {
    const db = open(path);
    const store = storeOf(db, first);
    const { uid } = await store.create(input('s'));
    await store.update({ uid, version: 1 }, input('s'));
    expect(await leaks()).toEqual([]);
    expect(await store.secrets(uid, 2)).toMatchObject({ environment: { PASSWORD: password } });
    await db.close();
    expect(await leaks()).toEqual([]);
  });

  it('of an earlier version are read, and encrypted without a trace', async () => {
    const { uid, removed } = await storeInClear(path);
    expect(await leaks()).not.toEqual([]);
    const db = open(path);
    const store = storeOf(db, first);
    expect(await store.secrets(uid, 1)).toMatchObject({ environment: { PASSWORD: password } });
    expect(await store.reencrypt()).toBe(300);
    expect(await store.reencrypt()).toBe(0);
    expect(await leaks()).toEqual([]);
    expect(await store.secrets(uid, 1)).toMatchObject({ environment: { PASSWORD: password } });
    expect(await store.secrets(removed, 1)).toBeUndefined();
    await db.close();
    expect(await leaks()).toEqual([]);
  });

  it('go over to a new key, and the old one can go', async () => {
    let db = open(path);
    const { uid } = await storeOf(db, first).create(input('s'));
    await db.close();
    db = open(path);
    const store = storeOf(db, second, first);
    expect(await store.reencrypt()).toBe(1);
    await db.close();
    db = open(path);
    expect(await storeOf(db, second).secrets(uid, 1)).toMatchObject({ environment: { PASSWORD: password } });
    await db.close();
    db = open(path);
    const lost = storeOf(db, first);
    await expect(lost.secrets(uid, 1)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('"second"'),
    });
    await expect(lost.reencrypt()).rejects.toMatchObject({ code: 'unavailable' });
    await db.close();
  });

  it('cannot be given to another service', async () => {
    const db = open(path);
    const store = storeOf(db, first);
    const mine = await store.create(input('mine'));
    const other = await store.create(input('other'));
    await db.close();
    const raw = new DatabaseSync(path);
    raw
      .prepare(
        'UPDATE definition_secrets SET secrets = (SELECT secrets FROM definition_secrets WHERE uid = ?) WHERE uid = ?',
      )
      .run(other.uid, mine.uid);
    raw.close();
    const again = open(path);
    await expect(storeOf(again, first).secrets(mine.uid, 1)).rejects.toMatchObject({ code: 'unavailable' });
    await again.close();
  });
});

/** A database as the version before this one left it, with services that are gone and have left their pages. */
async function storeInClear(path: string): Promise<{ readonly uid: string; readonly removed: string }> {
  const db = open(path);
  const store = storeOf(db);
  const created = await Promise.all(
    Array.from({ length: 400 }, async (_, n) =>
      store.create(input(`s${n}`, { third_party: { key: 'x'.repeat(500) } })),
    ),
  );
  const gone = created.slice(300);
  for (const { name } of gone) await store.remove(name);
  const later = systemClock.now() + 60_000;
  expect(await store.pruneVersions({ before: later, inUse: new Set() })).toBe(100);
  await db.close();
  const raw = new DatabaseSync(path);
  raw.exec(
    `ALTER TABLE definition_secrets DROP COLUMN key_id; PRAGMA user_version = ${migrations.length - 1}`,
  );
  raw.close();
  return { uid: created[0]?.uid ?? '', removed: gone[0]?.uid ?? '' };
}
