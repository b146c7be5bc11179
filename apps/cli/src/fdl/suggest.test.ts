import { expect, it } from 'vitest';
import { suggest } from './suggest.ts';

it.each([
  ['memroy', 'memory'],
  ['Imput', 'input'],
  ['environement', 'environment'],
  ['cup', 'cpu'],
  ['zzzzzz', undefined],
  ['vo2x', undefined],
])('%s → %s', (word, meant) => {
  expect(suggest(word, ['memory', 'input', 'environment', 'cpu', 'vo'])).toBe(meant);
});
