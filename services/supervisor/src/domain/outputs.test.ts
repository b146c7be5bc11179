import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { outputName, outputTargets, planUploads, type OutputTarget } from './outputs.ts';

const output = (path: string, more = {}) => ({ storage_provider: 'minio.default', path, ...more });
const definition = (outputs: ReturnType<typeof output>[], more = {}) => ({
  output: outputs,
  isolation_level: 'SERVICE',
  bucket_list: [] as string[],
  ...more,
});
const target = (more: Partial<OutputTarget> = {}): OutputTarget => ({
  bucket: 'b',
  folder: 'out',
  prefix: [],
  suffix: [],
  ...more,
});
const files = (...names: string[]) => names.map((name) => ({ name }));
const keys = (names: string[], targets: OutputTarget[]) =>
  planUploads(files(...names), targets).map((task) => `${task.file.name} > ${task.bucket}/${task.key}`);

describe('targets', () => {
  test('bucket is the first segment of the path', () => {
    const found = outputTargets(definition([output('b/out/deep'), output('/b/'), output('b')]), undefined);
    expect(found.map(({ bucket, folder }) => [bucket, folder])).toEqual([
      ['b', 'out/deep'],
      ['b', ''],
      ['b', ''],
    ]);
  });

  test("isolation by user: the event's own bucket takes the place", () => {
    const isolated = (level: string, event: string | undefined) =>
      outputTargets(
        definition([output('b/out')], { isolation_level: level, bucket_list: ['b-alice'] }),
        event,
      )[0]?.bucket;
    expect(isolated('USER', 'b-alice')).toBe('b-alice');
    expect(isolated('user', 'b-alice')).toBe('b-alice');
    expect(isolated('USER', 'b-bob')).toBe('b');
    expect(isolated('USER', undefined)).toBe('b');
    expect(isolated('SERVICE', 'b-alice')).toBe('b');
  });

  test.each(['minio', 'minio.default', 'MinIO.default'])('%s is served', (storage_provider) => {
    expect(outputTargets(definition([output('b', { storage_provider })]), undefined)).toHaveLength(1);
  });

  test.each(['s3.default', 'minio.other', 'webdav.dcache', 'onedata', 'rucio', ''])(
    '%s is refused',
    (provider) => {
      const bad = definition([output('b'), output('b', { storage_provider: provider })]);
      expect(() => outputTargets(bad, undefined)).toThrow(
        expect.objectContaining({ code: 'unsupported_provider' }),
      );
    },
  );

  test.each(['', '/', 'sluice-system', 'sluice-system/events'])('path %j is refused', (path) => {
    expect(() => outputTargets(definition([output(path)]), undefined)).toThrow(
      expect.objectContaining({ code: 'output_failed' }),
    );
  });
});

describe('plan', () => {
  test('sub-folders stay, white space and slashes at the ends go', () => {
    expect(keys(['a.txt', 'deep/er/b c.txt', ' x '], [target()])).toEqual([
      'a.txt > b/out/a.txt',
      'deep/er/b c.txt > b/out/deep/er/b c.txt',
      ' x  > b/out/x',
    ]);
    expect(keys(['a'], [target({ folder: '' })])).toEqual(['a > b/a']);
    expect(keys([' ', '\n'], [target()])).toEqual([]);
  });

  test('prefix and suffix match the relative name; a file may go to several outputs', () => {
    const names = ['a.jpg', 'b.png', 'deep/a.png'];
    expect(keys(names, [target({ prefix: ['a', 'deep/'] })])).toEqual([
      'a.jpg > b/out/a.jpg',
      'deep/a.png > b/out/deep/a.png',
    ]);
    expect(keys(names, [target({ suffix: ['.png'] })])).toEqual([
      'b.png > b/out/b.png',
      'deep/a.png > b/out/deep/a.png',
    ]);
    expect(keys(names, [target({ prefix: ['a'], suffix: ['.png'] })])).toEqual([]);
    expect(keys(['a'], [target(), target({ folder: 'two' })])).toEqual(['a > b/out/a', 'a > b/two/a']);
  });

  test('the same file to the same place is one upload, two files to one place are refused', () => {
    expect(keys(['a'], [target(), target({ prefix: ['a'] })])).toEqual(['a > b/out/a']);
    expect(() => keys(['a', 'a '], [target()])).toThrow(expect.objectContaining({ code: 'output_failed' }));
  });

  test('a key always stays below its folder', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 6 }), { maxLength: 4 }),
        (segments) => {
          const name = segments.join('/');
          expect(outputName(name).startsWith('/')).toBe(false);
          for (const task of planUploads(files(name), [target()]))
            expect(task.key.startsWith('out/') && task.key.length > 4).toBe(true);
        },
      ),
    );
  });
});
