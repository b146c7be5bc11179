import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asText, decodeAnswer, isZip } from './answer.ts';

describe('decodeAnswer', () => {
  it('gives back whatever an encoder wrote, with a line break or without', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.constantFrom('', '\n', '\r\n'), (bytes, end) => {
        const encoded = Buffer.from(Buffer.from(bytes).toString('base64') + end);
        expect(decodeAnswer(encoded)?.equals(bytes)).toBe(true);
      }),
    );
  });

  it.each([
    '',
    '\n',
    'hello world\n',
    'abc\n',
    'aGk=\naGk=\n',
    'aGk=\n\n',
    ' aGk=',
    'aGl=',
    'a-_b',
    'ünïcödé!',
  ])('leaves %j as it is', (text) => {
    expect(decodeAnswer(Buffer.from(text))).toBeUndefined();
  });

  it('takes a word that is base64 by chance for it: the wire does not tell', () => {
    expect(decodeAnswer(Buffer.from('done\n'))).toEqual(Buffer.from('done', 'base64'));
  });
});

it('knows archives, and text that a terminal may see', () => {
  expect(isZip(Buffer.from('PK\u0003\u0004…'))).toBe(true);
  expect(isZip(Buffer.from('PK'))).toBe(false);
  expect(asText(Buffer.from('grün\n\u001b[1mbold'))).toBe('grün\n\u001b[1mbold');
  expect(asText(Buffer.from('a\0b'))).toBeUndefined();
  expect(asText(Buffer.from([0xff, 0xfe]))).toBeUndefined();
});
