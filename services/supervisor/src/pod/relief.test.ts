import { expect, test } from 'vitest';
import { createRelief } from './relief.ts';

test('memory is given back once for every four mebibytes that passed', () => {
  let collected = 0;
  const passed = createRelief(() => {
    collected += 1;
  });
  for (let pieces = 0; pieces < 64; pieces += 1) passed(256 * 1024);
  expect(collected).toBe(4);
});

test('a program that cannot collect goes on without', () => {
  expect(() => createRelief(undefined)(2 ** 30)).not.toThrow();
});
