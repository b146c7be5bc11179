import { AppError } from '@sluice/shared/errors';
import { eventually, fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { withPatience } from './patience.ts';

const away = new AppError('unavailable', 'away');
const gone = new AppError('conflict', 'not wanted');

/** Fails so often, then works. */
function failing(times: number, error: Error = away): { work: () => Promise<string>; tries: () => number } {
  let tries = 0;
  return {
    work: async () => {
      tries += 1;
      if (tries <= times) throw error;
      return Promise.resolve('done');
    },
    tries: () => tries,
  };
}

test('a failure that may pass is waited for, longer each time up to 5 s', async () => {
  const clock = fakeClock();
  const { work, tries } = failing(8);
  const done = withPatience(clock, { forMs: 600_000 }, work);
  for (const ms of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
    await eventually('it to wait', () => clock.sleepers() === 1);
    const before = tries();
    clock.advance(ms - 1);
    expect(tries()).toBe(before);
    clock.advance(1);
  }
  expect(await done).toBe('done');
});

test('a refusal, a time that is over and a pod that is to end are final', async () => {
  const clock = fakeClock();
  await expect(withPatience(clock, { forMs: 600_000 }, failing(1, gone).work)).rejects.toBe(gone);
  await expect(withPatience(clock, { forMs: 99 }, failing(1).work)).rejects.toBe(away);
  const stop = new AbortController();
  const waiting = withPatience(clock, { forMs: 600_000, signal: stop.signal }, failing(2).work);
  await eventually('it to wait', () => clock.sleepers() === 1);
  stop.abort();
  await expect(waiting).rejects.toBe(away);
  expect(clock.sleepers()).toBe(0);
});

test('what passes may be said by the caller', async () => {
  const clock = fakeClock();
  await expect(withPatience(clock, { forMs: 600_000, again: () => false }, failing(1).work)).rejects.toBe(
    away,
  );
});
