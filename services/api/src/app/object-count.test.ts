import { AppError } from '@sluice/shared/errors';
import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createObjectCount } from './object-count.ts';

const bucket = (name: string) => ({ name, createdAt: 0, tags: {} });

function counted(pages: readonly string[][]) {
  const clock = fakeClock();
  const calls = { listed: 0, used: [] as [string, number][], fail: false };
  const count = createObjectCount({
    clock,
    objects: {
      listBuckets: async ({ cursor }) => {
        calls.listed += 1;
        if (calls.fail) throw new AppError('unavailable', 'away');
        const index = Number(cursor ?? 0);
        return {
          items: (pages[index] ?? []).map(bucket),
          ...(index + 1 < pages.length ? { next: String(index + 1) } : {}),
        };
      },
      usage: async (name, limit) => {
        calls.used.push([name, limit]);
        return { bytes: 1, objects: 3, complete: true };
      },
    },
  });
  return { clock, calls, count };
}

test('buckets of all pages and what is in them, the system’s own left out', async () => {
  const { calls, count } = counted([['a', 'sluice-system'], ['b']]);
  expect(await count()).toEqual({ buckets: 2, objects: 6 });
  expect(calls.used).toEqual([
    ['a', 1000],
    ['b', 1000],
  ]);
});

test('one count serves all who ask within a minute', async () => {
  const { clock, calls, count } = counted([['a']]);
  await Promise.all([count(), count(), count()]);
  clock.advance(59_999);
  await count();
  expect(calls.listed).toBe(1);
  clock.advance(1);
  await count();
  expect(calls.listed).toBe(2);
});

test('a failure is told to all who wait for it and not kept', async () => {
  const { calls, count } = counted([['a']]);
  calls.fail = true;
  const results = await Promise.allSettled([count(), count()]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  calls.fail = false;
  expect(await count()).toEqual({ buckets: 1, objects: 3 });
});

test('only so many buckets are looked into', async () => {
  const { calls, count } = counted([Array.from({ length: 500 }, (_, index) => `b${index}`)]);
  expect(await count()).toEqual({ buckets: 500, objects: 600 });
  expect(calls.used).toHaveLength(200);
});
