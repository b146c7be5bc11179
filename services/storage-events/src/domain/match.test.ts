import { splitPath } from '@sluice/shared/stores';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createServiceIndex, inputPaths, isInputKey, matchServices, type InputService } from './match.ts';

const service = (name: string, ...paths: readonly string[]): InputService => ({
  name,
  uid: `uid-${name}`,
  inputs: paths.map((path) => splitPath(path)),
});

const index = createServiceIndex([
  service('thumb', 'photos/in'),
  service('grey', 'photos/in', 'photos/in/deep'),
  service('deep', 'photos/in/deep'),
  service('all', 'whole-bucket'),
  service('hidden', 'photos/.staging/in'),
]);

const matched = (bucket: string, key: string): readonly string[] =>
  matchServices(index, bucket, key)
    .map((match) => match.service.name)
    .sort();

describe('matching', () => {
  test.each<[string, string, string[]]>([
    ['photos', 'in/a.jpg', ['grey', 'thumb']],
    ['photos', 'in/sub/a.jpg', ['grey', 'thumb']],
    ['photos', 'in/deep/a.jpg', ['deep', 'grey', 'thumb']],
    ['photos', 'inn/a.jpg', []],
    ['photos', 'in', []],
    ['photos', 'in/', []],
    ['photos', 'in/sub/', []],
    ['photos', 'out/in/a.jpg', []],
    ['other', 'in/a.jpg', []],
    ['whole-bucket', 'a', ['all']],
    ['whole-bucket', 'x/y/z', ['all']],
    ['photos', 'in/.a.jpg.Xyz123', []],
    ['photos', 'in/.git/config', []],
    ['photos', 'in/a.', ['grey', 'thumb']],
    ['photos', '.staging/in/a', ['hidden']],
    ['photos', '.staging/in/.a', []],
  ])('%s/%s', (bucket, key, services) => {
    expect(matched(bucket, key)).toEqual(services);
  });

  test('names the longest path that covers the key', () => {
    const grey = matchServices(index, 'photos', 'in/deep/a').find((match) => match.service.name === 'grey');
    expect(grey?.path).toEqual({ bucket: 'photos', prefix: 'in/deep/' });
  });

  test('lists each path once', () => {
    expect(inputPaths(index).map(({ bucket, prefix }) => `${bucket}/${prefix}`)).toEqual([
      'photos/in/',
      'photos/in/deep/',
      'photos/.staging/in/',
      'whole-bucket/',
    ]);
  });

  test('finds what looking at every service finds', () => {
    const name = fc.constantFrom('a', 'b', '.c', 'a.b');
    const path = fc.array(name, { maxLength: 3 });
    const services = fc.array(path, { maxLength: 6 });
    fc.assert(
      fc.property(services, fc.array(name, { minLength: 1, maxLength: 5 }), (paths, parts) => {
        const all = paths.map((folders, at) => ({
          name: `s${at}`,
          uid: `u${at}`,
          inputs: [{ bucket: 'bucket', prefix: folders.map((folder) => `${folder}/`).join('') }],
        }));
        const key = parts.join('/');
        const expected = all.filter(({ inputs }) => inputs.some(({ prefix }) => isInputKey(prefix, key)));
        const found = matchServices(createServiceIndex(all), 'bucket', key);
        expect(new Set(found.map((match) => match.service.name))).toEqual(
          new Set(expected.map((one) => one.name)),
        );
      }),
    );
  });
});
