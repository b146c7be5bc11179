import { expect, test } from 'vitest';
import { childTraceparent, newTraceparent, traceIdOf } from './trace.ts';

const form = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/;

test('ids are well-formed and never repeat, also past the size of the pool', () => {
  const made = Array.from({ length: 1000 }, newTraceparent);
  for (const one of made) expect(one).toMatch(form);
  expect(new Set(made.map(traceIdOf)).size).toBe(1000);
  expect(new Set(made.map((one) => one.split('-')[2])).size).toBe(1000);
});

test('a child keeps trace and flags and has a span of its own', () => {
  const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
  const child = childTraceparent(parent);
  expect(child).toMatch(form);
  expect(traceIdOf(child)).toBe(traceIdOf(parent));
  expect(child.endsWith('-00')).toBe(true);
  expect(child).not.toBe(parent);
});

test.each([
  undefined,
  '',
  'nonsense',
  '00-00000000000000000000000000000000-b7ad6b7169203331-01',
  '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
  'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more',
  '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
])('%j starts a trace of its own', (parent) => {
  const child = childTraceparent(parent);
  expect(child).toMatch(form);
  expect(String(parent)).not.toContain(traceIdOf(child));
});
