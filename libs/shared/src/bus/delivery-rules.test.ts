import { expect, it } from 'vitest';
import { backoffMs } from './delivery-rules.ts';

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
