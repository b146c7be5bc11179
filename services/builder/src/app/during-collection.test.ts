import { AppError } from '@sluice/shared/errors';
import { expect, test } from 'vitest';
import { change } from './during-collection.ts';

const underWay = () => Promise.resolve({ phase: 'collecting', startedAt: 1, deadline: 2 } as const);
const none = () => Promise.resolve(undefined);
const refuse = (refusal: Error) => async (): Promise<never> => {
  throw refusal;
};

test.each(['unsupported', 'unavailable'] as const)(
  '%s while a collection is under way passes',
  async (code) => {
    const refused = refuse(new AppError(code, 'The registry refuses this.'));
    await expect(change({ underWay }, refused)).rejects.toMatchObject({
      code: 'unavailable',
      retry: 'later',
      retryAfterSeconds: 60,
    });
  },
);

test('the same without one is told as it is, and so it is where nobody knows', async () => {
  const error = new AppError('unsupported', 'The registry deletes nothing.');
  const away = refuse(new AppError('unavailable', 'Redis is away.'));
  await expect(change({ underWay: none }, refuse(error))).rejects.toBe(error);
  await expect(change({ underWay: away }, refuse(error))).rejects.toBe(error);
});

test('what has nothing to do with it is told as it is', async () => {
  const error = new AppError('not_found', 'There is no such image.');
  await expect(change({ underWay }, refuse(error))).rejects.toBe(error);
  await expect(change({ underWay }, () => Promise.resolve(7))).resolves.toBe(7);
});
