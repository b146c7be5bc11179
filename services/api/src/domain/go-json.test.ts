import { AppError } from '@sluice/shared/errors';
import fc from 'fast-check';
import { Type } from 'typebox';
import { describe, expect, test } from 'vitest';
import { decodeGoJson } from './go-json-decode.ts';
import { encodeGoJson } from './go-json-encode.ts';
import { parseFirstJson, toPlain } from './go-json-parse.ts';

const Sample = Type.Object({
  name: Type.String(),
  cpu: Type.String(),
  count: Type.Integer(),
  ratio: Type.Number(),
  on: Type.Boolean(),
  list: Type.Array(Type.String()),
  map: Type.Record(Type.String(), Type.String()),
  inner: Type.Object({ api_port: Type.Optional(Type.Array(Type.Integer())), text: Type.String() }),
  extra: Type.Optional(Type.Object({ note: Type.String() })),
  free: Type.Optional(Type.Unknown()),
});

const decode = (text: string | Uint8Array) =>
  decodeGoJson(Sample, typeof text === 'string' ? Buffer.from(text) : text, {
    root: 'Service',
    scalarLists: ['inner.api_port'],
  });

const zero = {
  name: '',
  cpu: '',
  count: 0,
  ratio: 0,
  on: false,
  list: [],
  map: {},
  inner: { text: '' },
};

describe('decode', () => {
  test('absent fields have Go’s zero values', () => {
    expect(decode('{}')).toEqual(zero);
  });

  test('null leaves the zero value everywhere', () => {
    const nulls = Object.keys(Sample.properties).map((key) => `"${key}":null`);
    expect(decode(`{${nulls.join(',')}}`)).toEqual(zero);
    expect(decode('null')).toEqual(zero);
    expect(decode('{"list":["a",null],"map":{"k":null}}')).toEqual({
      ...zero,
      list: ['a', ''],
      map: { k: '' },
    });
  });

  test('keys match case-insensitively, doubled ones by the last', () => {
    expect(decode('{"NAME":"a","Inner":{"TEXT":"b"}}')).toEqual({ ...zero, name: 'a', inner: { text: 'b' } });
    expect(decode('{"name":"a","Name":"b"}').name).toBe('b');
    expect(decode('{"NAME":"a","name":"b","name":"c"}').name).toBe('c');
    expect(decode('{"map":{"a":"1"},"MAP":{"b":"2"}}').map).toEqual({ a: '1', b: '2' });
    expect(decode('{"li\u017ft":["folded"]}').list).toEqual(['folded']);
  });

  test('map keys are kept as they are', () => {
    expect(decode('{"map":{"A":"1","a":"2"}}').map).toEqual({ A: '1', a: '2' });
  });

  test('unknown keys and trailing bytes are ignored, only the first value is read', () => {
    expect(decode('{"name":"a","other":{"deep":[1,2]}}garbage').name).toBe('a');
    expect(decode(' \n{"name":"a"}{"name":"b"}').name).toBe('a');
  });

  test('a bare value stands for a list where that is agreed, 0 for none', () => {
    expect(decode('{"inner":{"api_port":5000}}').inner.api_port).toEqual([5000]);
    expect(decode('{"inner":{"api_port":[5000,1]}}').inner.api_port).toEqual([5000, 1]);
    expect(decode('{"inner":{"api_port":0}}').inner.api_port).toEqual([]);
    expect(() => decode('{"list":"a"}')).toThrow(
      'json: cannot unmarshal string into Go struct field Service.list of type []string',
    );
  });

  test('keys of JavaScript’s prototypes do no harm', () => {
    const text =
      '{"__proto__":{"name":"x","polluted":true},"constructor":{"prototype":{"polluted":true}},"map":{"__proto__":"v","constructor":"w"},"free":{"__proto__":{"polluted":true}}}';
    const value = decode(text);
    expect(value.name).toBe('');
    expect(Object.entries(value.map)).toEqual([
      ['__proto__', 'v'],
      ['constructor', 'w'],
    ]);
    expect(Object.hasOwn({}, 'polluted') || 'polluted' in {}).toBe(false);
    expect(Object.getPrototypeOf(value.free)).toBe(Object.prototype);
  });

  test.each([
    ['{"cpu":1}', 'json: cannot unmarshal number into Go struct field Service.cpu of type string', 'cpu'],
    ['{"name":true}', 'json: cannot unmarshal bool into Go struct field Service.name of type string', 'name'],
    ['{"name":[]}', 'json: cannot unmarshal array into Go struct field Service.name of type string', 'name'],
    [
      '{"count":"1"}',
      'json: cannot unmarshal string into Go struct field Service.count of type int',
      'count',
    ],
    [
      '{"count":1.5}',
      'json: cannot unmarshal number 1.5 into Go struct field Service.count of type int',
      'count',
    ],
    [
      '{"count":99999999999999999999}',
      'json: cannot unmarshal number 99999999999999999999 into Go struct field Service.count of type int',
      'count',
    ],
    [
      '{"ratio":1e999}',
      'json: cannot unmarshal number 1e999 into Go struct field Service.ratio of type float64',
      'ratio',
    ],
    [
      '{"map":{"a":1}}',
      'json: cannot unmarshal number into Go struct field Service.map of type string',
      'map',
    ],
    [
      '{"map":[]}',
      'json: cannot unmarshal array into Go struct field Service.map of type map[string]string',
      'map',
    ],
    [
      '{"inner":"x"}',
      'json: cannot unmarshal string into Go struct field Service.inner of type types.Inner',
      'inner',
    ],
    [
      '{"inner":{"text":{}}}',
      'json: cannot unmarshal object into Go struct field Service.inner.text of type string',
      'inner.text',
    ],
    [
      '{"cpu":1,"name":2}',
      'json: cannot unmarshal number into Go struct field Service.cpu of type string',
      'cpu',
    ],
    ['[]', 'json: cannot unmarshal array into Go value of type types.Service', undefined],
    ['12', 'json: cannot unmarshal number into Go value of type types.Service', undefined],
  ])('%s says %s', (text, message, field) => {
    const error = failureOf(() => decode(text));
    expect(error.message).toBe(message);
    expect(error.field).toBe(field);
    expect(error.code).toBe('invalid_input');
  });

  test.each([
    ['', 'EOF'],
    [' \n', 'EOF'],
    ['{', 'unexpected EOF'],
    ['{"a"', 'unexpected EOF'],
    ['{"a":"x', 'unexpected EOF'],
    ['tru', 'unexpected EOF'],
    ['x', "invalid character 'x' looking for beginning of value"],
    ['{a:1}', "invalid character 'a' looking for beginning of object key string"],
    ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['{"a":1 "b"}', `invalid character '"' after object key:value pair`],
    ['[1 2]', "invalid character '2' after array element"],
    ['[1,]', "invalid character ']' looking for beginning of value"],
    ['{"a":tru}', "invalid character '}' in literal true (expecting 'e')"],
    ['{"a":-}', "invalid character '}' in numeric literal"],
    ['{"a":1.}', "invalid character '}' after decimal point in numeric literal"],
    ['{"a":1e}', "invalid character '}' in exponent of numeric literal"],
    ['{"a":01}', "invalid character '1' after object key:value pair"],
    ['{"a":"\n"}', String.raw`invalid character '\n' in string literal`],
    [String.raw`{"a":"\x"}`, "invalid character 'x' in string escape code"],
    [String.raw`{"a":"\u12g4"}`, String.raw`invalid character 'g' in \u hexadecimal character escape`],
    ["'", String.raw`invalid character '\'' looking for beginning of value`],
  ])('%j says %s', (text, message) => {
    expect(failureOf(() => decode(text)).message).toBe(message);
  });

  test('a syntax error comes before a wrong type, as in Go', () => {
    expect(failureOf(() => decode('{"cpu":1,}')).message).toContain('invalid character');
  });

  test('bytes that are no UTF-8 and half surrogates become U+FFFD', () => {
    expect(decode(Buffer.from('7b226e616d65223a22ff61227d', 'hex')).name).toBe('\ufffda');
    expect(decode(String.raw`{"name":"\ud83d\ude00 \ud83d!"}`).name).toBe('😀 \ufffd!');
  });

  test('100,000 brackets are refused, not fatal', () => {
    expect(failureOf(() => decode('['.repeat(100_000))).message).toBe('exceeded max depth');
    const failure = failureOf(() => decode('{"free":'.repeat(100_000)));
    expect(failure).toMatchObject({ message: 'free: exceeded max depth', field: 'free' });
    expect(failureOf(() => decode(`[${'0,'.repeat(600_000)}0]`)).message).toContain('JSON values');
  });

  test('what JSON.parse reads, it reads as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('', ' ', '\n', '}'), (value, tail) => {
        const text = JSON.stringify(value, undefined, 1);
        expect(toPlain(parseFirstJson(text + (typeof value === 'number' ? ' ' : tail)))).toEqual(
          JSON.parse(text),
        );
      }),
    );
  });

  test('any text is a value or an invalid_input', () => {
    const bits = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '\\',
      'u',
      '1',
      '-',
      '.',
      'e',
      'true',
      'null',
      ' ',
      'name',
      '\u0000',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(bits).map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            decode(text);
          } catch (error) {
            expect(error).toBeInstanceOf(AppError);
            expect((error as AppError).code).toBe('invalid_input');
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('encode', () => {
  test('struct order, sorted map keys, absent left out, no spaces', () => {
    const value = {
      ...decode('{}'),
      map: { b: '2', a: '1', Z: '3', 10: 'x', 9: 'y' },
      inner: { text: 't', api_port: [1] },
    };
    expect(encodeGoJson(Sample, value)).toBe(
      '{"name":"","cpu":"","count":0,"ratio":0,"on":false,"list":[],"map":{"10":"x","9":"y","Z":"3","a":"1","b":"2"},"inner":{"api_port":[1],"text":"t"}}',
    );
  });

  test('escapes as Go does', () => {
    const text = '<a href="x">&\u2028\u2029\u0001\b\f\n\r\t\\ \u007f é 😀 \ud800';
    const expected = String.raw`"\u003ca href=\"x\"\u003e\u0026\u2028\u2029\u0001\b\f\n\r\t\\ ${'\u007f'} é 😀 ${'\ufffd'}"`;
    expect(encodeGoJson(Type.String(), text)).toBe(expected);
    expect(encodeGoJson(Type.Record(Type.String(), Type.Integer()), { '<': 1 })).toBe(
      String.raw`{"\u003c":1}`,
    );
  });

  test('map keys are in order of their bytes', () => {
    const keys = ['\u{10000}', '\uffff', 'a', ''];
    const encoded = encodeGoJson(
      Type.Record(Type.String(), Type.Integer()),
      Object.fromEntries(keys.map((key) => [key, 0])),
    );
    expect(Object.keys(JSON.parse(encoded) as object)).toEqual(['', 'a', '\uffff', '\u{10000}']);
  });

  test('decoding what was encoded gives the same value', () => {
    const value = fc.record({
      name: fc.string({ unit: 'binary' }),
      list: fc.array(fc.string()),
      map: fc.dictionary(fc.string(), fc.string()),
      count: fc.maxSafeInteger(),
    });
    fc.assert(
      fc.property(value, (part) => {
        const whole = { ...decode('{}'), ...part, name: part.name.toWellFormed() };
        const encoded = encodeGoJson(Sample, whole);
        expect(decode(encoded)).toEqual({ ...whole, count: whole.count + 0 });
        expect(/[<>&\n\u2028\u2029]/.test(encoded)).toBe(false);
      }),
    );
  });
});

function failureOf(act: () => unknown): AppError {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
