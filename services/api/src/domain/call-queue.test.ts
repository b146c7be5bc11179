import { expect, test } from 'vitest';
import { createCallQueue } from './call-queue.ts';

const turn = (turn: number): { turn: number } => ({ turn });

test('whoever is sent back stands where it stood, also when two come back in the wrong order', () => {
  const queue = createCallQueue<{ turn: number }>(10);
  for (const item of [1, 2, 3, 4].map(turn)) queue.add(item);
  const [first, second] = [queue.shift(), queue.shift()];
  if (first === undefined || second === undefined) throw new Error('nothing in the queue');
  queue.putBack(first);
  queue.putBack(second);
  expect(queue.takeAll().map((item) => item.turn)).toEqual([1, 2, 3, 4]);
});

test('a full queue takes nothing new, and back what it had', () => {
  const queue = createCallQueue<{ turn: number }>(2);
  const first = turn(1);
  expect([queue.add(first), queue.add(turn(2)), queue.add(turn(3))]).toEqual([true, true, false]);
  queue.shift();
  expect(queue.add(turn(4))).toBe(true);
  queue.putBack(first);
  expect(queue.size()).toBe(3);
  expect([queue.remove(first), queue.remove(first)]).toEqual([true, false]);
});
