import { AppError } from '@sluice/shared/errors';
import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { withPatience } from './patience.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const away = (): AppError => new AppError('unavailable', 'The ledger is away.');

function delivery(): { extended: number; extend(): Promise<void> } {
  const one = {
    extended: 0,
    extend: async () => {
      one.extended += 1;
    },
  };
  return one;
}

test('what waits for a server stays in hand until it is back', async () => {
  const clock = fakeClock();
  const one = delivery();
  let tries = 0;
  const done = withPatience(one, { clock, stopping: new AbortController().signal }, async () => {
    tries += 1;
    if (tries < 20) throw away();
  });
  for (let step = 0; step < 20; step += 1) {
    await turn();
    clock.advance(1000);
  }
  await done;
  expect([tries, one.extended]).toEqual([20, 19]);
});

test('anything else fails at once, and a process that stops gives it back', async () => {
  const clock = fakeClock();
  const stopping = new AbortController();
  const options = { clock, stopping: stopping.signal };
  const bug = withPatience(delivery(), options, () => Promise.reject(new TypeError('a bug')));
  await expect(bug).rejects.toThrow('a bug');
  const waiting = withPatience(delivery(), options, () => Promise.reject(away()));
  const outcome = expect(waiting).rejects.toThrow('The ledger is away.');
  await turn();
  stopping.abort();
  await outcome;
});
