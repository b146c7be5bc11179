import { expect, it } from 'vitest';
import { AppError } from '../errors/index.ts';
import { silentLogger } from '../telemetry/index.ts';
import { backoffMs, handleDelivery } from './delivery-rules.ts';
import type { Delivery } from './port.ts';

it.each([
  [1, 250, 500],
  [2, 500, 1000],
  [5, 4000, 8000],
  [8, 30_000, 60_000],
  [1000, 30_000, 60_000],
])('attempt %d waits between %d and %d ms', (attempt, least, most) => {
  expect(backoffMs(attempt, 0)).toBe(least);
  expect(backoffMs(attempt, 0.999_999)).toBeCloseTo(most, -1);
});

async function settledAfter(error: unknown, attempt: number): Promise<string> {
  const settled: string[] = [];
  const settle = (how: string) => async (): Promise<void> => {
    settled.push(how);
  };
  const delivery: Delivery = {
    message: { id: 'm', name: 'runs.cancel', key: 'a', payload: {}, traceparent: undefined },
    attempt,
    ack: settle('ack'),
    retry: settle('retry'),
    release: settle('release'),
    deadLetter: settle('dead letter'),
    extend: settle('extend'),
  };
  const handler = async (): Promise<void> => {
    if (error !== undefined) throw error;
  };
  await handleDelivery(handler, delivery, 'reader', silentLogger());
  return settled.join();
}

it.each([
  ['nothing', undefined, 1, 'ack'],
  ['wrong input', new AppError('invalid_input', 'wrong'), 1, 'dead letter'],
  ['a server that is away', new AppError('unavailable', 'away'), 1, 'retry'],
  ['a server that is away for hours', new AppError('unavailable', 'away'), 500, 'retry'],
  ['a bug', new Error('undefined is no function'), 7, 'retry'],
  ['a bug that comes each time', new Error('undefined is no function'), 8, 'dead letter'],
])('%s', async (_, error, attempt, settled) => {
  expect(await settledAfter(error, attempt)).toBe(settled);
});
