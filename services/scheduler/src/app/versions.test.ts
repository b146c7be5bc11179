import { AppError } from '@sluice/shared/errors';
import type { StoredDefinition } from '@sluice/shared/stores';
import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createVersionCache } from './versions.ts';

const stored = (uid: string, version: number): StoredDefinition => ({
  name: 'demo',
  uid,
  version,
  created_at: 0,
  updated_at: 0,
  definition: definitionOf('demo', {}),
});

function store(getVersion: (uid: string, version: number) => Promise<StoredDefinition | undefined>): {
  reads: number;
  cache: ReturnType<typeof createVersionCache>;
} {
  const made = {
    reads: 0,
    cache: createVersionCache({
      getVersion: (uid, version) => {
        made.reads += 1;
        return getVersion(uid, version);
      },
      secrets: async () => undefined,
    }),
  };
  return made;
}

test('a version is read once, however many ask for it at the same time', async () => {
  const made = store(async (uid, version) => stored(uid, version));
  const found = await Promise.all([made.cache.get('u', 1), made.cache.get('u', 1)]);
  expect(found[0]?.stored.version).toBe(1);
  expect(found[0]?.secrets).toEqual({ token: '', environment: {} });
  await made.cache.get('u', 1);
  expect(made.reads).toBe(1);
});

test('neither a failure nor an absence is remembered', async () => {
  let answers = 0;
  const made = store(async (uid, version) => {
    answers += 1;
    if (answers === 1) throw new AppError('unavailable', 'away');
    return answers === 2 ? undefined : stored(uid, version);
  });
  await expect(made.cache.get('u', 1)).rejects.toThrow('away');
  expect(await made.cache.get('u', 1)).toBeUndefined();
  expect((await made.cache.get('u', 1))?.stored.uid).toBe('u');
});

test('it keeps a bounded number, those used last', async () => {
  const made = store(async (uid, version) => stored(uid, version));
  for (let version = 1; version <= 256; version += 1) await made.cache.get('u', version);
  await made.cache.get('u', 1);
  await made.cache.get('u', 257);
  expect(made.reads).toBe(257);
  await made.cache.get('u', 1);
  expect(made.reads).toBe(257);
  await made.cache.get('u', 2);
  expect(made.reads).toBe(258);
});
