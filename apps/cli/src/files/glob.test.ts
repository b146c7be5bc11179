import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { globBase, globToRegExp, hasGlob } from './glob.ts';

const matches = (pattern: string, key: string): boolean => globToRegExp(pattern).test(key);

describe('a glob', () => {
  it.each<[string, string[], string[]]>([
    ['*.jpg', ['a.jpg', '.jpg', 'ä.jpg'], ['a/b.jpg', 'a.jpeg', 'a.jpgx']],
    ['in/*', ['in/a', 'in/'], ['in/a/b', 'in']],
    ['in/**', ['in/a', 'in/a/b'], ['inn/a']],
    ['**/a.txt', ['a.txt', 'x/a.txt', 'x/y/a.txt'], ['xa.txt', 'x/ba.txt']],
    ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/xb']],
    ['a**b', ['ab', 'axxb'], ['a/b']],
    ['?.txt', ['a.txt', '😀.txt'], ['.txt', 'ab.txt', '/.txt']],
    ['[a-c]1', ['a1', 'c1'], ['d1', '-1']],
    ['[!a-c]1', ['d1'], ['a1', '/1']],
    ['[]x]', [']', 'x'], ['y']],
    ['[z-a]', ['z', '-', 'a'], ['m']],
    ['{a,b}.{png,jpg}', ['a.png', 'b.jpg'], ['c.png', 'a.gif', 'a,b.png']],
    ['{a', ['{a'], ['a']],
    ['a}', ['a}'], ['a']],
    ['a,b', ['a,b'], ['a']],
    ['a+(b)$.^|\\', ['a+(b)$.^|\\'], ['ab']],
    ['a\nb*', ['a\nb', 'a\nb\n'], ['a b']],
  ])('%j', (pattern, hits, misses) => {
    expect(hits.filter((key) => !matches(pattern, key))).toEqual([]);
    expect(misses.filter((key) => matches(pattern, key))).toEqual([]);
  });

  it.each(['[&&]', '[~~]', '[a&b-]', '[z-a]', '[|]', '[^^]', '{[}]', '{{a,[}]}', '[^-&]', '[!-a]'])(
    '%s is a set of characters',
    (pattern) => {
      expect(globToRegExp(pattern)).toBeInstanceOf(RegExp);
    },
  );

  it('is a valid expression whatever it is made of', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom('*', '?', '[', ']', '{', '}', ',', '!', '^', '-', '/', 'a', 'z', '\\', '😀', '&&'),
        ),
        (parts) => {
          expect(globToRegExp(parts.join(''))).toBeInstanceOf(RegExp);
        },
      ),
    );
  });

  it('without wildcards names itself alone', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (key, other) => {
        fc.pre(!hasGlob(key) && key !== other);
        expect([matches(key, key), matches(key, other)]).toEqual([true, false]);
      }),
    );
  });
});

it.each([
  ['photos/2026/*.jpg', 'photos/2026/'],
  ['photos/2026', 'photos/'],
  ['*.jpg', ''],
  ['a/b?/c', 'a/'],
  ['{a,b}/c', ''],
])('the base of %j is %j', (pattern, base) => {
  expect(globBase(pattern)).toBe(base);
});
