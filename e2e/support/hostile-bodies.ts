import { gzipSync } from 'node:zlib';
import type { Schema } from './api-document.ts';

export interface HostileBody {
  readonly what: string;
  readonly bytes: Buffer;
  /** What a refusal has to name; undefined where the body is no JSON, so that there is no field. */
  readonly field?: string;
  readonly headers?: readonly (readonly [string, string])[];
}

const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const long = JSON.stringify('a'.repeat(100_000));
const many = `[${'0,'.repeat(99_999)}0]`;

/** As they stand in JSON: most are nothing that `JSON.stringify` would write. */
const values: readonly (readonly [what: string, json: string])[] = [
  ['null', 'null'],
  ['a number', '12345'],
  ['a negative number', '-1'],
  ['a fraction', '0.5'],
  ['1e400', '1e400'],
  ['a text', '"x"'],
  ['an empty text', '""'],
  ['NUL and a lone surrogate', '"\\u0000\\ud800"'],
  ['a path out', '"../../etc/passwd"'],
  ['a line break', '"a\\r\\nX-Injected: y"'],
  ['a truth value', 'true'],
  ['a list', '[]'],
  ['a list of null', '[null]'],
  ['a list of lists', '[[[]]]'],
  ['an object', '{}'],
  ['__proto__', '{"__proto__":{"x":1},"constructor":{"prototype":1}}'],
];
const heavy: readonly (readonly [what: string, json: string])[] = [
  ['100 kB', long],
  ['10,000 deep', deep(10_000)],
  ['100,000 values', many],
];

/** Places of a body: its own fields, and those one further in. */
function placesOf(schema: Schema, example: unknown): readonly (readonly string[])[] {
  const shown = example as Readonly<Record<string, unknown>>;
  const names = new Set([...Object.keys(schema.properties ?? {}), ...Object.keys(shown)]);
  return [...names].flatMap((name) => {
    const property = schema.properties?.[name];
    const inner = Object.keys(property?.properties ?? {}).map((key) => [name, key]);
    const ofItems = Object.keys(property?.items?.properties ?? {}).map((key) => [name, '0', key]);
    return [[name], ...inner, ...ofItems];
  });
}

/** The example's JSON with other JSON in one place. */
function withAt(example: unknown, place: readonly string[], json: string): string {
  const [name = '', ...rest] = place;
  if (place.length === 0) return json;
  if (name === '0') {
    const [first] = Array.isArray(example) ? (example as unknown[]) : [];
    return `[${withAt(first ?? {}, rest, json)}]`;
  }
  const known = typeof example === 'object' && example !== null ? { ...example } : {};
  const entries = Object.entries(known).filter(([key]) => key !== name);
  const own = withAt((known as Record<string, unknown>)[name], rest, json);
  const parts = entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  return `{${[...parts, `${JSON.stringify(name)}:${own}`].join(',')}}`;
}

/** Each field with each wrong value, then what is wrong with the whole. */
export function jsonBodies(schema: Schema, example: unknown): readonly HostileBody[] {
  const fields = placesOf(schema, example).flatMap((place) =>
    [...values, ...(place.length === 1 ? heavy : [])].map(([what, json]) => ({
      what: `${place.join('.')} = ${what}`,
      bytes: Buffer.from(withAt(example, place, json)),
      field: place.filter((part) => part !== '0').join('.'),
    })),
  );
  const required = (schema.required ?? []).map((name) => {
    const { [name]: _left, ...rest } = example as Record<string, unknown>;
    return { what: `no ${name}`, bytes: Buffer.from(JSON.stringify(rest)), field: name };
  });
  const names = Object.keys(example as object);
  const doubled = names.map((name) => ({
    what: `${name} twice`,
    bytes: Buffer.from(`{"${name}":{},${JSON.stringify(example).slice(1, -1)},"${name}":[[1]]}`),
    field: name,
  }));
  return [...fields, ...required, ...doubled, ...wholeBodies(example)];
}

/** What is wrong with a body as a whole, JSON or not. */
export function wholeBodies(example: unknown): readonly HostileBody[] {
  const text = typeof example === 'string' ? example : JSON.stringify(example);
  const zipped = gzipSync(text);
  const upper = text.replaceAll(/"([a-z_]+)":/g, (_all, key: string) => `"${key.toUpperCase()}":`);
  const bodies: readonly (readonly [string, string | Buffer])[] = [
    ['nothing', ''],
    ['white space', ' \r\n\t'],
    ['keys in capitals', upper],
    ['something after it', `${text} trailing {"a":`],
    ['a BOM', `\uFEFF${text}`],
    ['UTF-16', Buffer.from(`\uFEFF${text}`, 'utf16le')],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from('{"a'), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from('":1}')]),
    ],
    ['lone surrogates', '{"\\ud800":"\\udfff"}'],
    ['__proto__', '{"__proto__":{"x":1},"constructor":{"prototype":{"y":1}}}'],
    ['null', 'null'],
    ['true', 'true'],
    ['a number', '1e400'],
    ['a text', '"x"'],
    ['a list', '[]'],
    ['not JSON', '<xml/>'],
    ['NUL', '\0'],
    ['a truncated text', text.slice(0, -2)],
    ['10,000 deep', deep(10_000)],
    ['600,000 values', `[${'0,'.repeat(600_000)}0]`],
    ['100,000 keys', `{${Array.from({ length: 100_000 }, (_, at) => `"k${at}":0`).join(',')}}`],
    ['records of nothing', '{"Records":[{},null,[[]]]}'],
    ['gzip without a word', zipped],
  ];
  return [
    ...bodies.map(([what, body]) => ({ what: `the body is ${what}`, bytes: Buffer.from(body) })),
    { what: 'the body is 100,000 deep and open', bytes: Buffer.from('{"a":'.repeat(100_000)), field: 'a' },
    { what: 'the body is gzip', bytes: zipped, headers: [['Content-Encoding', 'gzip']] },
    {
      what: 'the body is said to be gzip',
      bytes: Buffer.from(text),
      headers: [['Content-Encoding', 'gzip']],
    },
    { what: 'the body has an odd type', bytes: Buffer.from(text), headers: [['Content-Type', ';;=%00/']] },
  ];
}
