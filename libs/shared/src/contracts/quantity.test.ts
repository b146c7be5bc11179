import { expect, test } from 'vitest';
import { parseQuantity } from './quantity.ts';

test.each([
  ['0.2', 0.2],
  ['500m', 0.5],
  ['256Mi', 268_435_456],
  ['1G', 1e9],
  ['1E', 1e18],
  ['1E3', 1000],
  ['.5', 0.5],
  ['2.', 2],
  ['-1', -1],
])('%s is %d', (text, value) => {
  expect(parseQuantity(text)).toBeCloseTo(value, 9);
});

test.each(['', ' ', '1 Gi', '1gi', 'abc', '1e', '--1', '1e999', '0x10', 'NaN'])(
  '%j is no quantity',
  (text) => {
    expect(parseQuantity(text)).toBeUndefined();
  },
);
