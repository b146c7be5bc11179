import type { RunnerEntry } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { afterRefusal, nextTry, pickRunner, unused, type RunnerUse } from './pick-runner.ts';

const runner = (id: string, change: Partial<RunnerEntry> = {}): RunnerEntry => ({
  id,
  state: 'ready',
  url: `http://127.0.0.1:1/${id}`,
  service_version: 1,
  ...change,
});
const uses = (entries: Record<string, Partial<RunnerUse>>): Map<string, RunnerUse> =>
  new Map(Object.entries(entries).map(([id, use]) => [id, { ...unused, ...use }]));
const now = 1000;

test('only a ready runner with an address is picked', () => {
  const { url: _, ...nowhere } = runner('nowhere');
  const others = [
    runner('starting', { state: 'starting' }),
    runner('draining', { state: 'draining' }),
    runner('ended', { state: 'ended' }),
    nowhere,
  ];
  expect(pickRunner(others, uses({}), now)).toBeUndefined();
  expect(pickRunner([], uses({}), now)).toBeUndefined();
  expect(pickRunner([...others, runner('ready')], uses({}), now)?.id).toBe('ready');
});

test('a runner with a call in hand gets no other; the one that rested longest comes first', () => {
  const runners = [runner('a'), runner('b'), runner('c')];
  const used = uses({ a: { inHand: true, lastUsed: 1 }, b: { lastUsed: 3 }, c: { lastUsed: 2 } });
  expect(pickRunner(runners, used, now)?.id).toBe('c');
  expect(
    pickRunner(runners, uses({ a: { inHand: true }, b: { inHand: true }, c: { inHand: true } }), now),
  ).toBe(undefined);
});

test('a new version is waited for while one of its runners is busy, and left out while none can be reached', () => {
  const runners = [runner('old'), runner('new', { service_version: 2 })];
  expect(pickRunner(runners, uses({}), now)?.id).toBe('new');
  expect(pickRunner(runners, uses({ new: { inHand: true } }), now)).toBeUndefined();
  const busy = { refused: 'busy', refusals: 1, until: now + 5 } as const;
  expect(pickRunner(runners, uses({ new: busy }), now)).toBeUndefined();
  expect(pickRunner(runners, uses({ new: { ...busy, refused: 'away' } }), now)?.id).toBe('old');
  const starting = [runner('old'), runner('new', { service_version: 2, state: 'starting' })];
  expect(pickRunner(starting, uses({}), now)?.id).toBe('old');
});

test('a refusal keeps a runner out for a time that grows to a limit, and after it those that did not refuse go first', () => {
  let use: RunnerUse = { ...unused, inHand: true };
  const pauses = [];
  for (let round = 0; round < 12; round += 1) {
    use = afterRefusal(use, 'busy', now, 1);
    pauses.push(use.until - now);
  }
  expect(pauses.slice(0, 4)).toEqual([4, 8, 16, 32]);
  expect(Math.max(...pauses)).toBe(250);
  expect(use.inHand).toBe(false);
  expect(afterRefusal(use, 'away', now, 0).until - now).toBe(50);
  const runners = [runner('a'), runner('b')];
  const used = uses({ a: { refused: 'busy', refusals: 1, until: now - 1 }, b: { lastUsed: 9 } });
  expect(pickRunner(runners, used, now)?.id).toBe('b');
});

test('the next try is the earliest of those that refused', () => {
  const runners = [runner('a'), runner('b'), runner('c')];
  const used = uses({ a: { until: now + 9 }, b: { until: now + 5 }, c: { inHand: true, until: now + 1 } });
  expect(nextTry(runners, used, now)).toBe(now + 5);
  expect(nextTry(runners, uses({}), now)).toBeUndefined();
});
