import { expect, test } from 'vitest';
import { chunksOf, createRecent, mapLimited } from './limited.ts';

test('keeps the order and the limit', async () => {
  let running = 0;
  let most = 0;
  const results = await mapLimited([5, 1, 4, 2, 3], 2, async (n) => {
    running += 1;
    most = Math.max(most, running);
    for (let turn = 0; turn < n; turn += 1) await Promise.resolve();
    running -= 1;
    return n * 10;
  });
  expect([results, most]).toEqual([[50, 10, 40, 20, 30], 2]);
});

test('rejects with the first failure and begins nothing more', async () => {
  const begun: number[] = [];
  const all = mapLimited([1, 2, 3, 4, 5, 6], 2, async (n) => {
    begun.push(n);
    await Promise.resolve();
    if (n === 2) throw new Error('two');
  });
  await expect(all).rejects.toThrow('two');
  expect(begun.length).toBeLessThan(6);
});

test('cuts into pieces', () => {
  expect(chunksOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(chunksOf([], 2)).toEqual([]);
});

test('remembers the last ones', () => {
  const recent = createRecent<number>(2);
  recent.set('a', 1);
  recent.set('b', 2);
  recent.set('a', 3);
  recent.set('c', 4);
  expect(['a', 'b', 'c'].map((key) => recent.get(key))).toEqual([3, undefined, 4]);
});
