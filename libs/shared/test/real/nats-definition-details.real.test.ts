import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dropNatsDefinitionStore, type NatsDefinitionStore } from '../../src/adapters/index.ts';
import type { Nats } from '../../src/adapters/nats-connection.ts';
import { readAll } from '../../src/adapters/nats-kv-feed.ts';
import { openBucket } from '../../src/adapters/nats-kv.ts';
import { isAppError } from '../../src/errors/index.ts';
import type { StoredDefinition } from '../../src/stores/index.ts';
import {
  boxOf,
  inputOf,
  openTestNats,
  openTestStore,
  randomKey,
  randomNamespace,
} from './nats-kv-fixture.ts';

const key = randomKey('first');
let nats: Nats;
let namespace: string;
let store: NatsDefinitionStore;
const opened: NatsDefinitionStore[] = [];

async function another(box: ReturnType<typeof boxOf> | undefined): Promise<NatsDefinitionStore> {
  const it = await openTestStore(nats, namespace, box);
  opened.push(it);
  return it;
}

beforeEach(async () => {
  nats = await openTestNats();
  namespace = randomNamespace();
  store = await another(boxOf(key));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map(async (it) => it.close()));
  await dropNatsDefinitionStore({ nats, namespace });
  await nats.close();
});

describe('several writers', () => {
  it('each version is wholly one writer’s, however many race', async () => {
    const rivals = await Promise.all(Array.from({ length: 4 }, async () => another(boxOf(key))));
    const first = await store.create(inputOf('s', 'start'));
    const won = new Map<number, string>();
    await Promise.all(
      rivals.map(async (rival, who) => {
        for (let turn = 0; turn < 25; turn += 1) {
          const mark = `${who}-${turn}`;
          const current = await rival.get('s');
          if (current === undefined) throw new Error('the service is gone');
          try {
            won.set((await rival.update(current, inputOf('s', mark))).version, mark);
          } catch (error) {
            if (!isAppError(error, 'conflict')) throw error;
          }
        }
      }),
    );
    const last = await store.get('s');
    expect(last?.version).toBe(won.size + 1);
    for (const [version, mark] of won) {
      const stored = await store.getVersion(first.uid, version);
      expect(stored?.definition.annotations).toEqual({ mark });
      expect((await store.secrets(first.uid, version))?.environment).toEqual({ MARK: mark });
    }
  });

  it('a removal and an update leave one of the two', async () => {
    for (let round = 0; round < 10; round += 1) {
      const stored = await store.create(inputOf('s'));
      const rival = await another(boxOf(key));
      const [update, removal] = await Promise.allSettled([
        rival.update(stored, inputOf('s')),
        store.remove('s'),
      ]);
      // A removal begins again where it was outrun: it always comes through.
      expect(removal.status).toBe('fulfilled');
      expect(await store.get('s')).toBeUndefined();
      if (update.status === 'fulfilled') expect(await store.getVersion(stored.uid, 2)).toEqual(update.value);
      else expect(update.reason).toMatchObject({ code: expect.stringMatching(/conflict|not_found/) });
      expect(await store.getVersion(stored.uid, 1)).toEqual(stored);
    }
  });
});

describe('secrets', () => {
  const password = 'correct horse battery staple';

  it('are readable in no bucket, and wanted by nobody who only watches', async () => {
    const plain = inputOf('s');
    const secrets = { ...plain.secrets, environment: { PASSWORD: password } };
    const created = await store.create({ ...plain, secrets });
    const open = await Promise.all(
      ['definitions', 'secrets', 'versions', 'floors'].map(async (it) => openBucket({ nats, namespace }, it)),
    );
    for (const bucket of open)
      for (const { value } of await readAll(nats, bucket, { values: true }))
        expect(Buffer.from(value ?? []).includes(password)).toBe(false);
    const blind = await another(undefined);
    const seen: StoredDefinition[] = [];
    await blind.watch((change) => change.kind === 'put' && seen.push(change.stored));
    expect(seen).toEqual([created]);
    await expect(blind.secrets(created.uid, 1)).rejects.toMatchObject({ code: 'unsupported' });
    await expect(blind.create(inputOf('t'))).rejects.toMatchObject({ code: 'unsupported' });
    expect(await blind.secrets('x', 1)).toBeUndefined();
  });

  it('go over to a new key while they are used', async () => {
    const created = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => store.create(inputOf(`s${n}`, `m${n}`))),
    );
    const fresh = randomKey('second');
    const [one, two] = await Promise.all([another(boxOf(fresh, key)), another(boxOf(fresh, key))]);
    const rewritten = await Promise.all([one.reencrypt(), two.reencrypt()]);
    expect(rewritten[0] + rewritten[1]).toBe(50);
    const after = await another(boxOf(fresh));
    for (const [n, { uid }] of created.entries())
      expect((await after.secrets(uid, 1))?.environment).toEqual({ MARK: `m${n}` });
    await expect(store.secrets(created[0]?.uid ?? '', 1)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('"second"'),
    });
  });

  it('do not open in another service’s place', async () => {
    const mine = await store.create(inputOf('mine'));
    const other = await store.create(inputOf('other'));
    const bucket = await openBucket({ nats, namespace }, 'secrets');
    const entries = await readAll(nats, bucket, { values: true });
    const of = (uid: string) => entries.find((entry) => entry.key.startsWith(uid));
    await bucket.put(of(mine.uid)?.key ?? '', of(other.uid)?.value ?? '');
    await expect(store.secrets(mine.uid, 1)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('size', () => {
  it('a large script is kept compressed; one that does not fit is refused by name', async () => {
    const script = `#!/bin/sh\n${'echo a line like many others\n'.repeat(200_000)}`;
    const stored = await store.create(inputOf('large', 'm', { script }));
    expect(stored.definition.script).toBe(script);
    expect((await store.get('large'))?.definition.script).toBe(script);
    const noise = randomBytes(2_000_000).toString('base64');
    await expect(store.create(inputOf('noise', 'm', { script: noise }))).rejects.toMatchObject({
      code: 'too_large',
      message: expect.stringMatching(/The definition has \d+ bytes compressed/),
    });
    expect(await store.get('noise')).toBeUndefined();
  });

  it('five thousand definitions are watched and listed', async () => {
    for (let at = 0; at < 5000; at += 250)
      await Promise.all(Array.from({ length: 250 }, async (_, n) => store.create(inputOf(`s${at + n}`))));
    const fresh = await another(undefined);
    const names = new Set<string>();
    await fresh.watch((change) => change.kind === 'put' && names.add(change.stored.name));
    expect(names.size).toBe(5000);
    expect(await fresh.lowestFloor()).toBe(1000);
    const page = await fresh.list({ limit: 1000 });
    expect(page.items).toHaveLength(1000);
  });
});
