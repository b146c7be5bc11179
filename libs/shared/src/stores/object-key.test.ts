import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAppError } from '../errors/index.ts';
import {
  checkBucketName,
  checkObjectHeaders,
  checkObjectKey,
  compareKeys,
  encodeObjectKey,
  isBucketName,
  isObjectKey,
  splitPath,
} from './object-key.ts';
import { SYSTEM_BUCKET } from './object-store.ts';

function faultOf(action: () => unknown): { code: string; field: string | undefined; message: string } {
  try {
    action();
  } catch (error) {
    if (isAppError(error)) return { code: error.code, field: error.field, message: error.message };
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Texts that are likely to be near the rules. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '.',
        '..',
        '',
        '/',
        '//',
        '../',
        './',
        '\\',
        '\0',
        '%2e%2e',
        '~',
        'ä',
        'é',
        '\ud800',
        ' ',
        '\n',
      ),
      fc.string({ unit: 'binary', maxLength: 12 }),
    ),
    { maxLength: 8 },
  )
  .chain((parts) => fc.constantFrom('', '/').map((glue) => parts.join(glue)));

describe('bucket names', () => {
  it.each(['abc', 'a-b', '0ab', 'my.bucket', 'a'.repeat(63), '1.2.3', 'thumbnail'])('takes %j', (name) => {
    expect(isBucketName(name)).toBe(true);
    expect(() => {
      checkBucketName(name);
    }).not.toThrow();
  });

  it.each([
    '',
    'ab',
    'a'.repeat(64),
    'Abc',
    'a_b',
    '-ab',
    'ab-',
    '.ab',
    'ab.',
    'a..b',
    'a.-b',
    'a-.b',
    '192.168.0.1',
    '...',
    'a/b',
    'a b',
    'äbc',
    'abc\n',
    '\nabc',
    'ab\0',
  ])('refuses %j', (name) => {
    expect(isBucketName(name)).toBe(false);
    expect(
      faultOf(() => {
        checkBucketName(name, 'bucket_name');
      }),
    ).toMatchObject({ code: 'invalid_input', field: 'bucket_name' });
  });

  it('refuses the system bucket to users, though it is a bucket name', () => {
    expect(isBucketName(SYSTEM_BUCKET)).toBe(true);
    expect(
      faultOf(() => {
        checkBucketName(SYSTEM_BUCKET);
      }).message,
    ).toContain('kept for Sluice');
  });
});

describe('object keys', () => {
  it.each([
    'a',
    'a/b',
    'in/',
    'a b+c%20&?#.txt',
    'ä/é/é',
    'line\nbreak',
    '...',
    '.a',
    'a..',
    '~',
    `${'x'.repeat(255)}/y`,
    '😀',
    '-rf',
  ])('takes %j', (key) => {
    expect(isObjectKey(key)).toBe(true);
  });

  it.each([
    '',
    '/',
    '/a',
    'a//b',
    'a//',
    '.',
    '..',
    './a',
    'a/.',
    'a/..',
    'a/../b',
    '../a',
    'a/./b',
    './',
    '../',
    'a\0b',
    'x'.repeat(256),
    'ä'.repeat(128),
    `a/${'x'.repeat(256)}/b`,
    'x/'.repeat(513),
    '\ud800',
    'a/\udc00',
  ])('refuses %j', (key) => {
    expect(isObjectKey(key)).toBe(false);
    expect(
      faultOf(() => {
        checkObjectKey(key);
      }),
    ).toMatchObject({ code: 'invalid_input', field: 'key' });
  });

  it('never takes a key that resolves outside its bucket', () => {
    fc.assert(
      fc.property(hostile, (key) => {
        if (!isObjectKey(key)) return;
        const path = posix.join('/root/bucket', key);
        // `join` resolves dots and doubled slashes, so an unchanged text has none.
        expect(path).toBe(`/root/bucket/${key}`);
        expect(Buffer.from(key).toString()).toBe(key);
        expect(key).not.toContain('\0');
      }),
      { numRuns: 3000 },
    );
  });

  it('is refused with a sentence whatever is wrong with it', () => {
    fc.assert(
      fc.property(hostile, (key) => {
        if (isObjectKey(key)) return;
        expect(
          faultOf(() => {
            checkObjectKey(key, 'object_key');
          }).message,
        ).toMatch(/^The object key is not valid: .+\.$/);
      }),
    );
  });
});

describe('splitPath', () => {
  it.each([
    ['thumbnail/in', { bucket: 'thumbnail', prefix: 'in/' }],
    [' /thumbnail/in/ ', { bucket: 'thumbnail', prefix: 'in/' }],
    ['thumbnail', { bucket: 'thumbnail', prefix: '' }],
    ['thumbnail/', { bucket: 'thumbnail', prefix: '' }],
    ['thumbnail/a/b c', { bucket: 'thumbnail', prefix: 'a/b c/' }],
  ])('splits %j', (path, expected) => {
    expect(splitPath(path)).toEqual(expected);
  });

  it.each([
    '',
    '/',
    'ab/x',
    'Thumbnail/in',
    'thumbnail/../other',
    'thumbnail//in',
    `${SYSTEM_BUCKET}/x`,
    'thumbnail/a\0',
  ])('refuses %j', (path) => {
    expect(faultOf(() => splitPath(path, 'input[0].path'))).toMatchObject({
      code: 'invalid_input',
      field: 'input[0].path',
    });
  });

  it('gives prefixes that are keys themselves, for every path it takes', () => {
    fc.assert(
      fc.property(hostile, (rest) => {
        try {
          const { bucket, prefix } = splitPath(`thumbnail/${rest}`);
          expect(bucket).toBe('thumbnail');
          if (prefix !== '') expect(isObjectKey(prefix)).toBe(true);
        } catch (error) {
          expect(isAppError(error, 'invalid_input')).toBe(true);
        }
      }),
    );
  });
});

describe('compareKeys', () => {
  it('orders as the UTF-8 bytes do', () => {
    const text = fc.string({ unit: 'binary', maxLength: 6 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 3000 },
    );
    expect(compareKeys('\uffff', '😀')).toBeLessThan(0);
  });
});

describe('encodeObjectKey', () => {
  it('is undone by decoding once', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (key) => {
        const encoded = encodeObjectKey(key);
        expect(decodeURIComponent(encoded)).toBe(key);
        expect(encoded).toMatch(/^[A-Za-z0-9\-._~%/]*$/);
      }),
    );
  });
});

describe('checkObjectHeaders', () => {
  it('takes what HTTP carries', () => {
    expect(() => {
      checkObjectHeaders({
        contentType: 'text/plain; charset=utf-8',
        metadata: { 'run-id': 'a b', empty: '' },
      });
    }).not.toThrow();
  });

  it.each([
    [{ contentType: '' }, 'contentType'],
    [{ contentType: 'text/plain\r\nX-Evil: 1' }, 'contentType'],
    [{ contentType: 'ä' }, 'contentType'],
    [{ metadata: { Upper: 'x' } }, 'metadata'],
    [{ metadata: { '': 'x' } }, 'metadata'],
    [{ metadata: { a: 'line\nbreak' } }, 'metadata'],
    [{ metadata: { a: ' outer' } }, 'metadata'],
    [{ metadata: { a: 'ü' } }, 'metadata'],
    [{ metadata: { a: 'x'.repeat(2048) } }, 'metadata'],
  ])('refuses %j', (headers, field) => {
    expect(
      faultOf(() => {
        checkObjectHeaders(headers);
      }),
    ).toMatchObject({ code: 'invalid_input', field });
  });
});
