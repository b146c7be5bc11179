import path from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { localPath } from './local-path.ts';
import { parseRemote } from './remote-path.ts';

it.each(['', '/', '/etc/passwd', '../x', 'a/../../x', 'a/..', '.', 'a//b', 'a/', 'a\0b'])(
  'refuses the key %j',
  (key) => {
    expect(() => localPath('/to', key)).toThrow("can't be a file below /to");
  },
);

it('is below the folder, whatever the key', () => {
  const part = fc.oneof(fc.constantFrom('..', '.', '', 'a', '...', ' ', '\\', '~', '\n'), fc.string());
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const key = parts.join('/');
      let file: string;
      try {
        file = localPath('/to/here', key);
      } catch {
        return;
      }
      const relative = path.relative('/to/here', file);
      expect(relative).toBe(key);
      expect(relative.split(path.sep)).not.toContain('..');
    }),
  );
});

it.each([
  ['b', 'b', ''],
  ['b/', 'b', ''],
  ['b/a/c.txt', 'b', 'a/c.txt'],
  ['/b/a', 'b', 'a'],
  ['b//a', 'b', '/a'],
])('%j is bucket %j and key %j', (text, bucket, key) => {
  expect(parseRemote(text)).toEqual({ bucket, key });
});

it.each(['', '/', '//a', './a', '../a'])('%j names no bucket', (text) => {
  expect(() => parseRemote(text)).toThrow('names no bucket');
});
