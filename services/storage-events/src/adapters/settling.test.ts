import { expect, test } from 'vitest';
import { createSettling, type FileLook } from './settling.ts';

const look = (size: bigint): FileLook => ({ dev: 1n, ino: 2n, size, mtimeNs: size, ctimeNs: size });
const paths = (settling: ReturnType<typeof createSettling>, now: number): readonly string[] =>
  settling.due(now, 100).map((candidate) => candidate.path);

test('a file is due once it has looked the same for the settle time', () => {
  const settling = createSettling({ settleMs: 100, limit: 10 });
  settling.touch('a', 0);
  expect(paths(settling, 1000)).toEqual([]);
  expect(settling.takeTouched(10)).toEqual(['a']);
  settling.looked('a', look(1n), 10);
  expect(settling.nextDue()).toBe(110);
  expect(paths(settling, 109)).toEqual([]);
  expect(settling.due(110, 10)).toEqual([{ path: 'a', seenAt: 0, look: look(1n) }]);
});

test('an event puts it off until the next look, and a change starts the time anew', () => {
  const settling = createSettling({ settleMs: 100, limit: 10 });
  settling.touch('a', 0);
  settling.takeTouched(10);
  settling.looked('a', look(1n), 0);
  settling.touch('a', 99);
  expect(paths(settling, 100)).toEqual([]);
  expect(settling.takeTouched(10)).toEqual(['a']);
  settling.looked('a', look(2n), 105);
  expect(paths(settling, 204)).toEqual([]);
  expect(paths(settling, 205)).toEqual(['a']);
  settling.touch('a', 206);
  settling.takeTouched(10);
  settling.looked('a', look(2n), 207);
  expect(paths(settling, 207)).toEqual(['a']);
});

test('what happens during a look is not lost', () => {
  const settling = createSettling({ settleMs: 100, limit: 10 });
  settling.touch('a', 0);
  settling.takeTouched(10);
  settling.touch('a', 5);
  settling.drop('a');
  expect(settling.has('a')).toBe(true);
  expect(settling.takeTouched(10)).toEqual(['a']);
  settling.drop('a');
  expect(settling.size).toBe(0);
});

test('what only a listing named has no time, until an event names it too', () => {
  const settling = createSettling({ settleMs: 100, limit: 10 });
  const seenAt = (now: number): number | undefined => settling.due(now, 1)[0]?.seenAt;
  settling.touch('a', undefined);
  expect([settling.isListed('a'), settling.isListed('b')]).toEqual([true, false]);
  settling.takeTouched(1);
  settling.looked('a', look(1n), 10);
  expect([settling.due(110, 1).length, seenAt(110)]).toEqual([1, undefined]);
  settling.touch('a', 120);
  settling.takeTouched(1);
  expect([settling.isListed('a'), seenAt(130)]).toEqual([false, 120]);
  settling.touch('a', undefined);
  settling.drop('a');
  expect(settling.isListed('a')).toBe(true);
});

test('it is bounded, and known paths can still be touched when it is full', () => {
  const settling = createSettling({ settleMs: 100, limit: 2 });
  expect(['a', 'b', 'c', 'a'].map((path) => settling.touch(path, 0))).toEqual([true, true, false, true]);
  expect([settling.size, settling.touchedCount]).toEqual([2, 2]);
  expect([settling.takeTouched(1), settling.takeTouched(5), settling.touchedCount]).toEqual([
    ['a'],
    ['b'],
    0,
  ]);
});

test('a file that is put off is due then', () => {
  const settling = createSettling({ settleMs: 100, limit: 2 });
  settling.touch('a', 0);
  settling.takeTouched(1);
  settling.looked('a', look(1n), 0);
  settling.postpone('a', 500);
  settling.postpone('unknown', 500);
  expect([paths(settling, 499), paths(settling, 500)]).toEqual([[], ['a']]);
});
