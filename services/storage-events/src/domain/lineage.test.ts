import { expect, test } from 'vitest';
import { lineageOf } from './lineage.ts';

test('of an output', () => {
  const metadata = { 'sluice-hop': '3', 'sluice-run': 'thumb-1', traceparent: '00-a-b-01' };
  expect(lineageOf(metadata)).toEqual({ hop: 3, run: 'thumb-1', traceparent: '00-a-b-01' });
});

test.each(['', '-1', '1.5', 'x', ' 2', '0x10'])('a hop count of "%s" is none', (hop) => {
  expect(lineageOf({ 'sluice-hop': hop }).hop).toBe(0);
});

test('a hop count past all numbers is a large one', () => {
  expect(lineageOf({ 'sluice-hop': '9'.repeat(400) }).hop).toBe(Number.MAX_SAFE_INTEGER);
});
