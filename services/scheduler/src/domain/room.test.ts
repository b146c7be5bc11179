import { expect, test } from 'vitest';
import { chooseIdle, graceMs, isRoomKept, keptMs, patienceMs, type IdleRunners } from './room.ts';

const service = (key: string, more: Partial<IdleRunners<string>> = {}): IdleRunners<string> => ({
  key,
  runners: 1,
  calls: 0,
  minScale: 0,
  idleMs: 5000,
  ...more,
});

test.each<[string, readonly IdleRunners<string>[], string | undefined]>([
  ['none where there is none', [], undefined],
  ['none that calls need', [service('a', { calls: 1 }), service('b', { runners: 2, calls: 3 })], undefined],
  ['none between two calls', [service('a', { idleMs: graceMs - 1 })], undefined],
  ['the longest idle', [service('a'), service('b', { idleMs: 6000 })], 'b'],
  ['of the service that has more', [service('a'), service('b', { runners: 2 })], 'b'],
  ['above min_scale first', [service('a', { minScale: 1, idleMs: 9000 }), service('b')], 'b'],
  [
    'what is above min_scale, not who has the most',
    [service('a', { runners: 5, minScale: 5 }), service('b')],
    'b',
  ],
  ['then min_scale', [service('a', { minScale: 1 })], 'a'],
  [
    'the second before the only one',
    [service('a', { minScale: 1, idleMs: 9000 }), service('b', { runners: 2, minScale: 2 })],
    'b',
  ],
  ['the idle one of a busy service', [service('a', { runners: 2, calls: 1, minScale: 2 })], 'a'],
])('ended is: %s', (_name, services, chosen) => {
  expect(chooseIdle(services, graceMs)).toBe(chosen);
});

test('who has nothing at all does not wait between two calls of others', () => {
  expect(chooseIdle([service('a', { idleMs: 0 })], 0)).toBe('a');
});

test.each([
  [0, false],
  [patienceMs - 1, false],
  [patienceMs, true],
  [keptMs - 1, true],
  [keptMs, false],
  [2 * keptMs, false],
  [2 * keptMs + patienceMs, true],
])('after %i ms of waiting room is kept: %s', (waited, kept) => {
  expect(isRoomKept(waited)).toBe(kept);
});
