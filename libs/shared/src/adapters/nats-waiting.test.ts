import { expect, it } from 'vitest';
import { eventually, fakeClock } from '../testing/index.ts';
import { createWaiting, type Waiting } from './nats-waiting.ts';

function make(): { clock: ReturnType<typeof fakeClock>; waiting: Waiting; hints: () => number } {
  const clock = fakeClock();
  let hints = 0;
  const waiting = createWaiting(clock, () => {
    hints += 1;
  });
  return { clock, waiting, hints: () => hints };
}

const counts = (count: number): ReadonlyMap<string, number> => new Map([['a', count]]);
const none: readonly unknown[] = [];

it('takes off what is in hand and what was put off, until its time', async () => {
  const { clock, waiting, hints } = make();
  const state = waiting.of('a', 'a');
  state.inHand = 1;
  waiting.putOff(state, clock.monotonic() + 1000);
  expect(waiting.ready(counts(4))).toEqual([{ key: 'a', waiting: 2 }]);
  expect(waiting.ready(counts(2))).toEqual(none);
  clock.advance(1000);
  await eventually('it is said', () => hints() === 1);
  expect(waiting.ready(counts(2))).toEqual([{ key: 'a', waiting: 1 }]);
});

it('leaves out what a fetch did not give, longer each time, and sees what is new at once', () => {
  const { clock, waiting } = make();
  const state = waiting.of('a', 'a');
  const fetchInVain = (): void => waiting.exhausted(state, 0, state.arrivals);
  fetchInVain();
  expect(waiting.ready(counts(3))).toEqual(none);
  expect(waiting.ready(counts(4))).toEqual([{ key: 'a', waiting: 1 }]);
  clock.advance(250);
  expect(waiting.ready(counts(3))).toEqual([{ key: 'a', waiting: 3 }]);
  fetchInVain();
  clock.advance(499);
  expect(waiting.ready(counts(3))).toEqual(none);
  clock.advance(1);
  expect(waiting.ready(counts(3))).toEqual([{ key: 'a', waiting: 3 }]);
});

it('does not take for hidden what arrived while the fetch was under way', () => {
  const { waiting } = make();
  const state = waiting.of('a', 'a');
  const since = state.arrivals;
  waiting.arrived('a');
  waiting.exhausted(state, 0, since);
  waiting.arrived('a');
  expect(waiting.ready(counts(5))).toEqual([{ key: 'a', waiting: 2 }]);
});

it('does not look again and again at what another process has', () => {
  const { clock, waiting } = make();
  const state = waiting.of('a', 'a');
  let looks = 0;
  for (let passed = 0; passed < 60_000; passed += 50) {
    if (waiting.ready(counts(1)).length > 0) {
      looks += 1;
      waiting.exhausted(state, 0, state.arrivals);
    }
    clock.advance(50);
  }
  expect(looks).toBeLessThan(15);
});

it('forgets keys that had no message for long', () => {
  const { clock, waiting } = make();
  waiting.of('a', 'ä');
  waiting.ready(new Map());
  expect(waiting.keyOf('a')).toBe('ä');
  clock.advance(600_001);
  waiting.ready(new Map());
  expect(waiting.keyOf('a')).toBeUndefined();
});
