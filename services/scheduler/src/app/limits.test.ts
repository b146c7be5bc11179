import { runStates, type RunState } from '@sluice/shared/contracts';
import type { StoredDefinition } from '@sluice/shared/stores';
import { definitionOf, fakeClock, type FakeClock } from '@sluice/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { createLimits, type Limits } from './limits.ts';

let clock: FakeClock;
let limits: Limits;
let active: number;
let reads: number;
let onRead: () => void;

beforeEach(() => {
  clock = fakeClock();
  [active, reads] = [0, 0];
  onRead = () => undefined;
  const counts = async (): Promise<Record<RunState, number>> => {
    reads += 1;
    const none = Object.fromEntries(runStates.map((state) => [state, 0])) as Record<RunState, number>;
    const found = { ...none, running: active };
    onRead();
    return found;
  };
  limits = createLimits({ ledger: { counts }, clock, slots: 4, retryMs: 1000 });
});

const narrow: StoredDefinition = {
  name: 'narrow',
  uid: 'u',
  version: 1,
  created_at: 0,
  updated_at: 0,
  definition: definitionOf('narrow', { sluice: { max_concurrency: 2 } }),
};

test('what is starting here counts before the ledger has it, once', async () => {
  active = 1;
  const taken = limits.starting('a');
  expect(await limits.free()).toBe(2);
  taken();
  taken();
  expect(await limits.free()).toBe(3);
});

test('while all places are taken nothing is asked before an attempt ends, or a while has passed', async () => {
  active = 4;
  expect(await limits.free()).toBeUndefined();
  expect(await limits.free()).toBeUndefined();
  expect(reads).toBe(1);
  active = 3;
  limits.ended('a');
  expect(await limits.free()).toBe(1);
  active = 4;
  expect(await limits.free()).toBeUndefined();
  clock.advance(1001);
  active = 2;
  expect(await limits.free()).toBe(2);
});

test('an attempt that ends while the ledger is read is not missed', async () => {
  active = 4;
  onRead = () => {
    limits.ended('a');
  };
  expect(await limits.free()).toBeUndefined();
  active = 3;
  expect(await limits.free()).toBe(1);
});

test('the limit of a service is asked for only where there is one, and again when one of it has ended', async () => {
  expect(await limits.allowance('wide', undefined)).toBe(Infinity);
  expect(reads).toBe(0);
  active = 2;
  expect(await limits.allowance('narrow', narrow)).toBe(0);
  expect(limits.isBlocked('narrow')).toBe(true);
  limits.ended('other');
  expect(limits.isBlocked('narrow')).toBe(true);
  limits.ended('narrow');
  expect(limits.isBlocked('narrow')).toBe(false);
  active = 1;
  expect(await limits.allowance('narrow', narrow)).toBe(1);
});

test('a service that was refused waits, unless an attempt has ended since', () => {
  const since = limits.moment();
  limits.block('a', since);
  expect(limits.isBlocked('a')).toBe(true);
  clock.advance(1001);
  expect(limits.isBlocked('a')).toBe(false);
  limits.ended('b');
  limits.block('a', since);
  expect(limits.isBlocked('a')).toBe(false);
});
