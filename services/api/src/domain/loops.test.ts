import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { feeds, findLoop, linksOf, type ServiceLinks } from './loops.ts';

const io = (path: string, prefix?: string[]) => ({
  storage_provider: 'minio.default',
  path,
  ...(prefix === undefined ? {} : { prefix }),
});
const service = (name: string, input: string[], output: ReturnType<typeof io>[]): ServiceLinks =>
  linksOf({ name, input: input.map((path) => io(path)), output });

test('a service whose output is apart from its input is no loop', () => {
  expect(findLoop(service('a', ['bkt/in'], [io('bkt/out')]), [])).toBeUndefined();
  expect(findLoop(service('a', ['bkt/in'], [io('bkt/input')]), [])).toBeUndefined();
  expect(findLoop(service('a', ['bkt/in'], [io('ccc/in')]), [])).toBeUndefined();
});

test('writing into its own input, or below it, is one', () => {
  expect(findLoop(service('a', ['bkt/in'], [io('bkt/in')]), [])).toEqual(['a', 'a']);
  expect(findLoop(service('a', ['bkt/in'], [io('bkt/in/deeper')]), [])).toEqual(['a', 'a']);
});

describe('an output above the input', () => {
  test('may reach it with a file in a sub-folder', () => {
    expect(findLoop(service('a', ['bkt/x/in'], [io('bkt/x')]), [])).toEqual(['a', 'a']);
  });

  test('does not where the prefix filter rules that out', () => {
    expect(findLoop(service('a', ['bkt/x/in'], [io('bkt/x', ['out/', 'small-'])]), [])).toBeUndefined();
    expect(findLoop(service('a', ['bkt/x/in'], [io('bkt/x', ['in/done-'])]), [])).toEqual(['a', 'a']);
    expect(findLoop(service('a', ['bkt/x/in'], [io('bkt/x', ['i'])]), [])).toEqual(['a', 'a']);
  });
});

test('a chain through other services is named', () => {
  const b = service('b', ['two/in'], [io('three/in')]);
  const c = service('c', ['three/in'], [io('one/in')]);
  const unrelated = service('d', ['one/in'], [io('four/in')]);
  expect(findLoop(service('a', ['one/in'], [io('two/in')]), [b, c, unrelated])).toEqual(['a', 'b', 'c', 'a']);
  expect(findLoop(service('a', ['one/in'], [io('two/in')]), [b, unrelated])).toBeUndefined();
});

test('the candidate’s older version does not count', () => {
  const old = service('a', ['one/in'], [io('one/in')]);
  expect(findLoop(service('a', ['one/in'], [io('one/out')]), [old])).toBeUndefined();
});

test('a loop of others is not the candidate’s', () => {
  const b = service('b', ['two/in'], [io('two/in')]);
  expect(findLoop(service('a', ['one/in'], [io('two/in')]), [b])).toBeUndefined();
});

test('what feeds is what some key shows', () => {
  const part = fc.constantFrom('in', 'out', 'x');
  const folder = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => `${parts.join('/')}/`);
  const names = fc.array(fc.constantFrom('in/', 'in/x', 'out', 'x/in/', 'o'), { maxLength: 2 });
  const rest = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(folder, folder, names, rest, (output, input, filter, name) => {
      const written = filter.length === 0 || filter.some((start) => name.startsWith(start));
      const arrives = written && `${output}${name}`.startsWith(input);
      // Every key that arrives must have been foreseen.
      if (arrives) {
        expect(feeds({ bucket: 'b', prefix: output, names: filter }, { bucket: 'b', prefix: input })).toBe(
          true,
        );
      }
    }),
    { numRuns: 1000 },
  );
});
