import { expect, it } from 'vitest';
import { createSlots, forEachLimit } from './concurrency.ts';

async function* numbers(count: number): AsyncGenerator<number> {
  for (let index = 0; index < count; index += 1) yield index;
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('works on everything, and on no more than the limit at once', async () => {
  let active = 0;
  let most = 0;
  const seen: number[] = [];
  await forEachLimit(numbers(20), 3, async (item) => {
    active += 1;
    most = Math.max(most, active);
    await tick();
    seen.push(item);
    active -= 1;
  });
  expect(most).toBe(3);
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
});

it('stops after a failure, once what is under way has ended', async () => {
  const done: number[] = [];
  const work = async (item: number): Promise<void> => {
    await tick();
    if (item === 1) throw new Error('one');
    await tick();
    done.push(item);
  };
  await expect(forEachLimit(numbers(100), 3, work)).rejects.toThrow('one');
  expect(done.length).toBeLessThan(6);
  expect(done).toContain(0);
});

it('waits for what is under way when the items themselves fail', async () => {
  async function* broken(): AsyncGenerator<number> {
    yield 1;
    throw new Error('no more');
  }
  let done = false;
  const work = async (): Promise<void> => {
    await tick();
    done = true;
  };
  await expect(forEachLimit(broken(), 3, work)).rejects.toThrow('no more');
  expect(done).toBe(true);
});

it('gives slots in order, also after a failure', async () => {
  const inSlot = createSlots(1);
  const order: number[] = [];
  const results = await Promise.allSettled(
    [1, 2, 3].map((item) =>
      inSlot(async () => {
        await tick();
        order.push(item);
        if (item === 2) throw new Error('two');
        return item;
      }),
    ),
  );
  expect(order).toEqual([1, 2, 3]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});
