import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createImagePulls } from './image-pulls.ts';

function controlled() {
  const pulls: PromiseWithResolvers<void>[] = [];
  const join = createImagePulls<string>(() => {
    const gate = Promise.withResolvers<void>();
    pulls.push(gate);
    return gate.promise;
  });
  return { pulls, join };
}

test('who comes during a pull gets the next one, all of them together', async () => {
  const { pulls, join } = controlled();
  const done: string[] = [];
  const first = join('a', 'a').then(() => done.push('first'));
  const others = ['second', 'third'].map((name) => join('a', 'a').then(() => done.push(name)));
  await setImmediate();
  expect(pulls.length).toBe(1);
  pulls[0]?.resolve();
  await first;
  await setImmediate();
  expect(pulls.length).toBe(2);
  expect(done).toEqual(['first']);
  pulls[1]?.resolve();
  await Promise.all(others);
  const later = join('a', 'a');
  expect(pulls.length).toBe(3);
  pulls[2]?.resolve();
  await later;
});

test('a pull that fails fails for those who asked before it began, and for nobody else', async () => {
  const { pulls, join } = controlled();
  const first = expect(join('a', 'a')).rejects.toThrow('away');
  const second = join('a', 'a');
  const other = join('b', 'b');
  pulls[0]?.reject(new Error('away'));
  await first;
  await setImmediate();
  expect(pulls.length).toBe(3);
  pulls[1]?.resolve();
  pulls[2]?.resolve();
  await Promise.all([second, other]);
});
