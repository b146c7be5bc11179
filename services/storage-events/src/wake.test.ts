import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createWake } from './wake.ts';

test('waits for the time', async () => {
  const clock = fakeClock();
  const wake = createWake(clock);
  let woken = false;
  const waiting = wake.wait(100).then(() => {
    woken = true;
  });
  clock.advance(99);
  await Promise.resolve();
  expect(woken).toBe(false);
  clock.advance(1);
  await waiting;
});

test('is cut short by a ring, also by one that came before', async () => {
  const clock = fakeClock();
  const wake = createWake(clock);
  const waiting = wake.wait(Number.POSITIVE_INFINITY);
  wake.ring();
  await waiting;
  wake.ring();
  await wake.wait(Number.POSITIVE_INFINITY);
  expect(clock.sleepers()).toBe(0);
});

test('a clock that fails is not taken for a ring', async () => {
  const broken = { ...fakeClock(), sleep: () => Promise.reject(new Error('broken')) };
  await expect(createWake(broken).wait(5)).rejects.toThrow('broken');
});
