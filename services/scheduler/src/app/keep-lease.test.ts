import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { keepLease } from './keep-lease.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a lease is extended while the work goes on, a failure notwithstanding, and not for ever', async () => {
  const clock = fakeClock();
  let extended = 0;
  const extend = async (): Promise<void> => {
    extended += 1;
    if (extended === 1) throw new Error('away');
  };
  keepLease({ extend }, clock, { ms: 300, atMostMs: 1000 });
  for (let step = 0; step < 30; step += 1) {
    clock.advance(100);
    await turn();
  }
  expect(extended).toBe(10);
});

test('it ends with the work', async () => {
  const clock = fakeClock();
  let extended = 0;
  const letGo = keepLease(
    {
      extend: async () => {
        extended += 1;
      },
    },
    clock,
    { ms: 300, atMostMs: 1000 },
  );
  clock.advance(100);
  await turn();
  letGo();
  await turn();
  clock.advance(500);
  await turn();
  expect(extended).toBe(1);
  expect(clock.sleepers()).toBe(0);
});
