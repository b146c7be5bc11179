import { expect, test } from 'vitest';
import { goDuration, nanoTime } from './go-time.ts';

test.each([
  [0, '0s'],
  [0.0000005, '1ns'],
  [0.000_9, '900ns'],
  [0.0123, '12.3µs'],
  [0.001, '1µs'],
  [1, '1ms'],
  [347.805334, '347.805334ms'],
  [10, '10ms'],
  [1000, '1s'],
  [1455.744552, '1.455744552s'],
  [62_500, '1m2.5s'],
  [3_600_000, '1h0m0s'],
  [-1, '0s'],
])('%d ms is %s', (ms, text) => {
  expect(goDuration(ms)).toBe(text);
});

test.each([
  [Date.UTC(2026, 0, 2, 3, 4, 5, 678), '2026-01-02T03:04:05.678Z'],
  [Date.UTC(2026, 0, 2, 3, 4, 5, 600), '2026-01-02T03:04:05.6Z'],
  [Date.UTC(2026, 0, 2, 3, 4, 0, 0), '2026-01-02T03:04:00Z'],
  [Date.UTC(2026, 0, 2, 3, 4, 10, 0), '2026-01-02T03:04:10Z'],
])('%d is %s', (at, text) => {
  expect(nanoTime(at)).toBe(text);
});
