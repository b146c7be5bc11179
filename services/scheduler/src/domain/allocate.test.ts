import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRotation, type Candidate } from './allocate.ts';

const candidate = (key: string, waiting: number): Candidate => ({ key, waiting });

function take(count: number, candidates: readonly Candidate[], last?: string): string[] {
  const rotation = createRotation(candidates, last);
  const taken: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const key = rotation.next();
    if (key === undefined) break;
    taken.push(key);
  }
  return taken;
}

describe('rotation', () => {
  test('serves one after another, not the longest queue', () => {
    expect(take(5, [candidate('big', 1000), candidate('small', 1), candidate('mid', 2)])).toEqual([
      'big',
      'mid',
      'small',
      'big',
      'mid',
    ]);
  });

  test('goes on after the one that was served last', () => {
    expect(take(3, [candidate('a', 9), candidate('b', 9), candidate('c', 9)], 'b')).toEqual(['c', 'a', 'b']);
    expect(take(2, [candidate('a', 9), candidate('b', 9)], 'z')).toEqual(['a', 'b']);
  });

  test('leaves a skipped service out', () => {
    const rotation = createRotation([candidate('a', 5), candidate('b', 2)], undefined);
    expect(rotation.next()).toBe('a');
    rotation.skip('a');
    expect([rotation.next(), rotation.next(), rotation.next()]).toEqual(['b', 'b', undefined]);
  });

  test('never gives more than waits, and differs by at most one among services that still wait', () => {
    const services = fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]{1,4}$/), fc.nat(20)), {
      selector: ([key]) => key,
      maxLength: 8,
    });
    fc.assert(
      fc.property(services, fc.nat(60), (list, count) => {
        const candidates = list.map(([key, waiting]) => candidate(key, waiting));
        const taken = take(count, candidates);
        const of = (key: string): number => taken.filter((one) => one === key).length;
        for (const one of candidates) expect(of(one.key)).toBeLessThanOrEqual(one.waiting);
        const hungry = candidates.filter((one) => of(one.key) < one.waiting).map((one) => of(one.key));
        if (hungry.length > 0) {
          for (const one of candidates) expect(of(one.key) - Math.min(...hungry)).toBeLessThanOrEqual(1);
        }
        expect(taken.length).toBe(
          Math.min(
            count,
            candidates.reduce((sum, one) => sum + one.waiting, 0),
          ),
        );
      }),
    );
  });
});
