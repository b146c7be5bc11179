import { expect, test } from 'vitest';
import { isOver } from './under-way.ts';

test('an attempt is over when its run has ended or gone on to another one', () => {
  expect(isOver(2, { attempt: 2, state: 'succeeded' })).toBe(true);
  expect(isOver(2, { attempt: 3, state: 'queued' })).toBe(true);
  expect(isOver(2, { attempt: 3, state: 'running' })).toBe(true);
});

test('what is said of it late changes nothing', () => {
  expect(isOver(2, { attempt: 2, state: 'queued' })).toBe(false);
  expect(isOver(2, { attempt: 2, state: 'starting' })).toBe(false);
  expect(isOver(2, { attempt: 1, state: 'failed' })).toBe(false);
});
