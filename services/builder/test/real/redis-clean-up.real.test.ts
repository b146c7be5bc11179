import { randomUUID } from 'node:crypto';
import { openRedis, type RedisConnection } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRedisCollectionState, createRedisImageUses } from '../../src/adapters/index.ts';
import type { CollectionState, ImageUses } from '../../src/index.ts';

let redis: RedisConnection;
let client: Redis;
let namespace: string;
let state: CollectionState;
let uses: ImageUses;

beforeEach(async () => {
  const { REDIS_URL } = process.env;
  if (!REDIS_URL) throw new Error('this test needs a Redis server: set REDIS_URL');
  namespace = `test-${randomUUID()}`;
  const url = new Secret(REDIS_URL);
  redis = await openRedis({ url, namespace, name: 'test', clock: systemClock, log: silentLogger() });
  client = new Redis(REDIS_URL);
  state = createRedisCollectionState(redis);
  uses = createRedisImageUses(redis);
});

afterEach(async () => {
  await redis.close();
  for await (const keys of client.scanStream({ match: `{${namespace}}:*`, count: 1000 })) {
    const names = (keys as unknown[]).map(String);
    if (names.length > 0) await client.unlink(...names);
  }
  client.disconnect();
});

const long = { leaseMs: 60_000, totalMs: 600_000 };

test('one holder at a time, through all phases to its end', async () => {
  expect(await state.underWay()).toBeUndefined();
  expect(await state.last()).toBeUndefined();
  const claims = await Promise.all(['a', 'b', 'c'].map((holder) => state.claim(holder, long)));
  expect(claims.map(({ kind }) => kind).sort()).toEqual(['begun', 'busy', 'busy']);
  const holder = ['a', 'b', 'c'][claims.findIndex(({ kind }) => kind === 'begun')] ?? '';
  expect(await state.enter(holder, 'draining', 1000)).toBe('held');
  expect(await state.enter('other', 'locking', 1000)).toBe('taken');
  expect(await state.renew(holder, 60_000)).toBe('held');
  const { phase, startedAt, deadline } = (await state.underWay()) ?? {};
  expect(phase).toBe('draining');
  expect((deadline ?? 0) - (startedAt ?? 0)).toBe(600_000);
  expect(await state.takeOver('other', long)).toEqual({ kind: 'busy', phase: 'draining' });
  expect(await state.finish('other', { state: 'gave_up', why: 'not mine' })).toBe('taken');
  expect(await state.finish(holder, { state: 'gave_up', why: 'builds' })).toBe('held');
  expect(await state.underWay()).toBeUndefined();
  expect(await state.last()).toMatchObject({ outcome: { state: 'gave_up', why: 'builds' } });
  // Who slept through the end is told so.
  expect(await state.renew(holder, 1000)).toBe('taken');
  expect(await state.finish(holder, { state: 'gave_up', why: 'again' })).toBe('taken');
  expect(await state.takeOver('other', long)).toEqual({ kind: 'none' });
  expect(await state.claim('other', long)).toEqual({ kind: 'begun' });
});

test('a silent holder loses it, with the phase that it was in', async () => {
  await state.claim('dead', { leaseMs: 1, totalMs: 600_000 });
  await state.enter('dead', 'collecting', 1);
  const taken = await eventually('it is free', async () => {
    const claim = await state.takeOver('heir', long);
    return claim.kind !== 'busy' && claim;
  });
  expect(taken).toEqual({ kind: 'left', phase: 'collecting' });
  expect(await state.renew('dead', 1000)).toBe('taken');
  expect(await state.enter('dead', 'unlocking', 1000)).toBe('taken');
  expect(await state.enter('heir', 'unlocking', 1000)).toBe('held');
});

test('nobody holds it past the deadline', async () => {
  await state.claim('slow', { leaseMs: 60_000, totalMs: 50 });
  const hold = await eventually('the deadline', async () => {
    const found = await state.renew('slow', 60_000);
    return found !== 'held' && found;
  });
  expect(hold).toBe('taken');
  expect(await state.claim('next', long)).toEqual({ kind: 'left', phase: 'pausing' });
});

test('an emptied store is told from a collection that was taken away', async () => {
  await state.claim('a', long);
  await client.unlink(`{${namespace}}:collection`);
  expect(await state.renew('a', 1000)).toBe('gone');
  expect(await state.enter('a', 'locking', 1000)).toBe('gone');
  expect(await state.finish('a', { state: 'undone', phase: 'locking' })).toBe('gone');
});

test('uses of images: the latest counts, and each user has their own', async () => {
  await uses.note('anna', ['sha256:a', 'sha256:b'], 2000);
  await uses.note('anna', ['sha256:a'], 1000.7);
  await uses.note('anna', ['sha256:b'], 1_764_034_976_123);
  await uses.note('ben', ['cache:python'], 3000);
  await uses.note('anna', [], 1);
  expect(Object.fromEntries(await uses.of('anna'))).toEqual({
    'sha256:a': 2000,
    'sha256:b': 1_764_034_976_123,
  });
  expect([...(await uses.of('ben'))]).toEqual([['cache:python', 3000]]);
  expect((await uses.of('nobody')).size).toBe(0);
  expect([...(await uses.users())].sort()).toEqual(['anna', 'ben']);
  await uses.forget('anna', ['sha256:a', 'sha256:not-there']);
  expect([...(await uses.of('anna')).keys()]).toEqual(['sha256:b']);
  const many = Array.from({ length: 1200 }, (_, number) => `sha256:${number}`);
  await uses.note('carl', many, 5);
  expect((await uses.of('carl')).size).toBe(1200);
  await uses.forget('carl', many);
  expect((await uses.of('carl')).size).toBe(0);
});
