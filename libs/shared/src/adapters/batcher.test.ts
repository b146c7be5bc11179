import { describe, expect, it } from 'vitest';
import { createBatcher } from './batcher.ts';

interface Call {
  readonly items: readonly string[];
  readonly done: (results: readonly string[]) => void;
  readonly fail: (error: unknown) => void;
}

function setUp(maxUnderWay = 1) {
  const calls: Call[] = [];
  const batcher = createBatcher<string, string>({
    maxItems: 3,
    maxBytes: 10,
    maxUnderWay,
    bytesOf: (item) => item.length,
    work: async (items) =>
      new Promise((resolve, reject) => calls.push({ items, done: resolve, fail: reject })),
  });
  return { calls, batcher };
}

const settled = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const upper = ({ items, done }: Call): void => done(items.map((item) => item.toUpperCase()));

describe('a batcher', () => {
  it('gathers what is asked for at the same time, and while a batch is under way', async () => {
    const { calls, batcher } = setUp();
    const first = Promise.all([batcher.add(['a']), batcher.add(['b', 'c'])]);
    await settled();
    const rest = Promise.all([batcher.add(['d']), batcher.add([]), batcher.add(['e'])]);
    await settled();
    expect(calls.map(({ items }) => items)).toEqual([['a', 'b', 'c']]);
    calls.forEach(upper);
    expect(await first).toEqual([['A'], ['B', 'C']]);
    await settled();
    expect(calls[1]?.items).toEqual(['d', 'e']);
    calls.slice(1).forEach(upper);
    expect(await rest).toEqual([['D'], [], ['E']]);
    expect(batcher.waiting()).toBe(0);
  });

  it('cuts batches by number and by size, and lets a big one go alone', async () => {
    const { calls, batcher } = setUp(9);
    void batcher.add(['1', '2', '3', '4', 'x'.repeat(10), 'y'.repeat(50), '5']);
    await settled();
    expect(calls.map(({ items }) => items.map((item) => item.length))).toEqual([
      [1, 1, 1],
      [1],
      [10],
      [50],
      [1],
    ]);
  });

  it('fails everything that waits with the batch that failed, and goes on', async () => {
    const { calls, batcher } = setUp();
    const all = Promise.allSettled([batcher.add(['1', '2', '3']), batcher.add(['4'])]);
    await settled();
    calls[0]?.fail(new Error('away'));
    expect((await all).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const next = batcher.add(['n']);
    await settled();
    calls.slice(1).forEach(upper);
    expect(await next).toEqual(['N']);
  });

  it('does not leave a caller waiting for a result that is not there', async () => {
    const { calls, batcher } = setUp();
    const both = batcher.add(['a', 'b']);
    await settled();
    calls[0]?.done(['A']);
    await expect(both).rejects.toThrow('too few results');
  });
});
