import { expect, test } from 'vitest';
import { createAnswerMemory } from './answer-memory.ts';

test('all calls share the bytes, and get back what others release', () => {
  const memory = createAnswerMemory(100);
  const [one, other] = [memory.share(), memory.share()];
  expect(one.hold(60)).toBe(true);
  expect(other.hold(41)).toBe(false);
  expect(other.hold(40)).toBe(true);
  one.release();
  one.release();
  expect(other.hold(60)).toBe(true);
  expect(other.hold(1)).toBe(false);
});
