import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ServiceDefinition } from '../contracts/index.ts';
import type { DefinitionChange, DefinitionStore, Floor, NewDefinition } from '../stores/index.ts';
import { definitionOf } from './definition-of.ts';
import { eventually } from './eventually.ts';

/** A store of its own for each test. */
export interface DefinitionStoreHarness {
  readonly store: DefinitionStore;
  /** Ends the store and opens it again, with what it had stored. */
  restart(): Promise<DefinitionStore>;
  close(): Promise<void>;
}

const token = 'a'.repeat(64);

/** A definition with its secrets and one floor. */
function input(
  name: string,
  changes: Partial<ServiceDefinition> = {},
  floors?: readonly Floor[],
): NewDefinition {
  return {
    definition: definitionOf(name, changes),
    secrets: { token, environment: { PASSWORD: 'hunter2' } },
    floors: floors ?? [{ bucket: name, prefix: 'in/', at: 1000 }],
  };
}

/** What every definition store does. Written against the port: watchers hear of a change soon, not at once. */
export function describeDefinitionStore(name: string, make: () => Promise<DefinitionStoreHarness>): void {
  describe(`DefinitionStore: ${name}`, () => {
    let harness: DefinitionStoreHarness;
    let store: DefinitionStore;
    beforeEach(async () => {
      harness = await make();
      ({ store } = harness);
    });
    afterEach(async () => harness.close());

    it('keeps what was created, secrets apart', async () => {
      const created = await store.create(input('thumbnail', { script: '#!/bin/sh\necho ü "quoted"\n' }));
      expect(created).toMatchObject({ name: 'thumbnail', version: 1, updated_at: created.created_at });
      expect(created.definition).toEqual(
        definitionOf('thumbnail', { script: '#!/bin/sh\necho ü "quoted"\n' }),
      );
      expect(await store.get('thumbnail')).toEqual(created);
      expect(await store.getVersion(created.uid, 1)).toEqual(created);
      expect(await store.secrets(created.uid, 1)).toEqual({ token, environment: { PASSWORD: 'hunter2' } });
      expect(JSON.stringify(await store.list({ limit: 10 }))).not.toContain(token);
      store = await harness.restart();
      expect(await store.get('thumbnail')).toEqual(created);
    });

    it('knows nothing of what is not there', async () => {
      expect(await store.get('x')).toBeUndefined();
      expect(await store.getVersion('x', 1)).toBeUndefined();
      expect(await store.secrets('x', 1)).toBeUndefined();
      expect(await store.remove('x')).toBeUndefined();
      expect(await store.floors('x')).toEqual([]);
      expect(await store.lowestFloor()).toBeUndefined();
      expect(await store.list({ limit: 10 })).toEqual({ items: [] });
    });

    it('refuses a name that is taken, also at the same time', async () => {
      const tries = await Promise.allSettled(
        Array.from({ length: 5 }, async () => store.create(input('one'))),
      );
      const failed = tries.filter((it) => it.status === 'rejected');
      expect(failed).toHaveLength(4);
      for (const { reason } of failed) expect(reason).toMatchObject({ code: 'conflict' });
    });

    it.each<[string, Partial<ServiceDefinition>]>([
      ['a token', { token }],
      ['a secret value', { environment: { variables: {}, secrets: { PASSWORD: 'hunter2' } } }],
    ])('refuses a definition that carries %s', async (_what, changes) => {
      await expect(store.create(input('leaky', changes))).rejects.toMatchObject({ code: 'invalid_input' });
      expect(await store.get('leaky')).toBeUndefined();
      await store.create(input('names', { environment: { variables: {}, secrets: { PASSWORD: '' } } }));
    });

    it('stores versions, one after the other', async () => {
      const first = await store.create(input('s'));
      const second = await store.update(first, input('s', { memory: '1Gi' }));
      expect(second).toMatchObject({ uid: first.uid, version: 2, created_at: first.created_at });
      expect((await store.get('s'))?.definition.memory).toBe('1Gi');
      expect((await store.getVersion(first.uid, 1))?.definition.memory).toBe('256Mi');
      await expect(store.update(first, input('s'))).rejects.toMatchObject({ code: 'conflict' });
      await expect(store.update({ uid: 'unknown', version: 1 }, input('s'))).rejects.toMatchObject({
        code: 'not_found',
      });
      const tries = await Promise.allSettled(
        Array.from({ length: 5 }, async () => store.update(second, input('s'))),
      );
      expect(tries.filter((it) => it.status === 'fulfilled')).toHaveLength(1);
      expect((await store.get('s'))?.version).toBe(3);
    });

    it('gives a service that is made again another uid; versions of the old one stay readable', async () => {
      const old = await store.create(input('s'));
      expect(await store.remove('s')).toEqual(old);
      expect(await store.get('s')).toBeUndefined();
      expect(await store.getVersion(old.uid, 1)).toEqual(old);
      expect(await store.secrets(old.uid, 1)).toMatchObject({ token });
      await expect(store.update(old, input('s'))).rejects.toMatchObject({ code: 'not_found' });
      const fresh = await store.create(input('s'));
      expect(fresh.uid).not.toBe(old.uid);
      expect(fresh.version).toBe(1);
    });

    it('lists by name, page by page', async () => {
      for (const it of ['delta', 'alpha', 'echo', 'bravo', 'charlie']) await store.create(input(it));
      const pages: string[][] = [];
      let cursor: string | undefined;
      do {
        const page = await store.list({ limit: 2, ...(cursor === undefined ? {} : { cursor }) });
        pages.push(page.items.map((it) => it.name));
        cursor = page.next;
      } while (cursor !== undefined);
      expect(pages).toEqual([['alpha', 'bravo'], ['charlie', 'delta'], ['echo']]);
      await expect(store.list({ limit: 2, cursor: 'bm9uc2Vuc2U' })).rejects.toMatchObject({
        code: 'invalid_input',
        field: 'cursor',
      });
    });

    it('tells watchers what there is, then what changes', async () => {
      const one = await store.create(input('one'));
      await store.create(input('two'));
      const seen: DefinitionChange[] = [];
      const watch = await store.watch((change) => seen.push(change));
      const nameOf = (change: DefinitionChange): string =>
        change.kind === 'put' ? `${change.stored.name} ${change.stored.version}` : `-${change.name}`;
      expect(seen.map(nameOf).sort()).toEqual(['one 1', 'two 1']);
      await store.update(one, input('one'));
      await store.create(input('three'));
      await store.remove('two');
      await eventually('all changes are seen', () => seen.length === 5);
      expect(seen.slice(2).map(nameOf).sort()).toEqual(['-two', 'one 2', 'three 1']);
      await watch.stop();
      await store.create(input('four'));
      await store.get('four');
      expect(seen).toHaveLength(5);
    });

    it('keeps floors: set once, only raised, gone with their prefix or service', async () => {
      const a: Floor = { bucket: 'a', prefix: 'in/', at: 100.5 };
      const b: Floor = { bucket: 'b', prefix: '', at: 50 };
      const paths = (...list: string[]): Partial<ServiceDefinition> => ({
        input: list.map((path) => ({ storage_provider: 'minio.default', path })),
      });
      const first = await store.create(input('s', paths('a/in', 'b'), [a, b]));
      const sorted = async (): Promise<readonly Floor[]> =>
        [...(await store.floors(first.uid))].sort((x, y) => (x.bucket < y.bucket ? -1 : 1));
      expect(await sorted()).toEqual([a, b]);
      expect(await store.lowestFloor()).toBe(50);
      await store.raiseFloor(first.uid, { ...b, at: 200 });
      await store.raiseFloor(first.uid, { ...a, at: 10 });
      await store.raiseFloor('unknown', { ...a, at: 1 });
      expect(await sorted()).toEqual([a, { ...b, at: 200 }]);
      const c: Floor = { bucket: 'c', prefix: 'new/', at: 300 };
      // "a" stays input and keeps its floor; "b" is input no more; "c" is new.
      const second = await store.update(first, input('s', paths('/a/in/', 'c/new'), [{ ...a, at: 999 }, c]));
      expect(await sorted()).toEqual([a, c]);
      // A caller may name the new floors only.
      await store.update(second, input('s', paths('a/in', 'c/new'), []));
      expect(await sorted()).toEqual([a, c]);
      await store.remove('s');
      expect(await sorted()).toEqual([]);
      expect(await store.lowestFloor()).toBeUndefined();
    });

    it('prunes versions that are over and unused', async () => {
      const first = await store.create(input('s'));
      const second = await store.update(first, input('s'));
      await store.update(second, input('s'));
      const later = first.created_at + 3_600_000;
      expect(await store.pruneVersions({ before: first.created_at, inUse: new Set() })).toBe(0);
      expect(await store.pruneVersions({ before: later, inUse: new Set([`${first.uid}/1`]) })).toBe(1);
      expect(await store.getVersion(first.uid, 1)).toEqual(first);
      expect(await store.getVersion(first.uid, 2)).toBeUndefined();
      expect(await store.secrets(first.uid, 2)).toBeUndefined();
      await store.remove('s');
      expect(await store.pruneVersions({ before: later, inUse: new Set() })).toBe(2);
      expect(await store.getVersion(first.uid, 3)).toBeUndefined();
    });
  });
}
