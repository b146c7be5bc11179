import { expect, it } from 'vitest';
import { eventually, fakeClock } from '../testing/index.ts';
import { createAlarm } from './sqlite-alarm.ts';

function setUp() {
  const clock = fakeClock();
  const rings: number[] = [];
  const start = clock.monotonic();
  const alarm = createAlarm(clock, () => rings.push(clock.monotonic() - start));
  return { clock, rings, set: (ms: number) => alarm.set(start + ms), clear: alarm.clear };
}

/** Lets promises that are resolved run their course. */
const turn = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('rings once, at the earliest time that was set', async () => {
  const { clock, rings, set } = setUp();
  set(500);
  set(200);
  set(300);
  await turn();
  expect(clock.sleepers()).toBe(1);
  clock.advance(199);
  await turn();
  expect(rings).toEqual([]);
  clock.advance(1);
  await eventually('it rings', () => rings.length > 0);
  clock.advance(1000);
  await turn();
  expect(rings).toEqual([200]);
  expect(clock.sleepers()).toBe(0);
});

it('rings at once for a time that is over, and not after it was cleared', async () => {
  const { clock, rings, set, clear } = setUp();
  set(-5);
  await eventually('it rings', () => rings.length === 1);
  set(100);
  clear();
  clock.advance(1000);
  await turn();
  expect(rings).toHaveLength(1);
  expect(clock.sleepers()).toBe(0);
});

it('rings every hour on the way to a far time, since timers are short', async () => {
  const { clock, rings, set } = setUp();
  set(1e12);
  await turn();
  clock.advance(3_600_000);
  await eventually('it rings', () => rings.length === 1);
  expect(rings).toEqual([3_600_000]);
});
