import { AppError } from '@sluice/shared/errors';

/** A number as it was written, so that `1.0` and `1e400` can be told from `1`. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An object as it was written: every key in its order, doubled ones too. */
export class JsonObject {
  readonly entries: (readonly [key: string, value: JsonValue])[] = [];
}

export type JsonValue = null | boolean | string | JsonNumber | JsonValue[] | JsonObject;

/** Deeper nesting is refused; the deepest part of a definition is at 5. */
const maxDepth = 1000;
/** Values in one body; bounds the memory of a body that is all commas. */
const maxValues = 500_000;

interface Scanner {
  readonly text: string;
  at: number;
  values: number;
  /** The key of the outermost object that is being read. */
  field?: string;
}

/**
 * Reads the first JSON value of a text as Go's `encoding/json` does; what follows it is ignored (OSCAR §0).
 * @throws AppError `invalid_input` with Go's message: `EOF`, `unexpected EOF`, `invalid character 'x' …`
 */
export function parseFirstJson(text: string): JsonValue {
  const scanner: Scanner = { text, at: 0, values: 0 };
  skipSpace(scanner);
  if (scanner.at >= text.length) throw new AppError('invalid_input', 'EOF');
  return readValue(scanner, 0);
}

function readValue(scanner: Scanner, depth: number): JsonValue {
  if (depth > maxDepth) throw beyond(scanner, 'exceeded max depth');
  scanner.values += 1;
  if (scanner.values > maxValues) throw beyond(scanner, `more than ${maxValues} JSON values`);
  const char = scanner.text[scanner.at];
  switch (char) {
    case '{':
      return readObject(scanner, depth);
    case '[':
      return readArray(scanner, depth);
    case '"':
      return readString(scanner);
    case 't':
      return readLiteral(scanner, 'true', true);
    case 'f':
      return readLiteral(scanner, 'false', false);
    case 'n':
      return readLiteral(scanner, 'null', null);
    default:
      if (char === '-' || (char !== undefined && isDigit(char))) return readNumber(scanner);
      throw unexpected(scanner, 'looking for beginning of value');
  }
}

function readObject(scanner: Scanner, depth: number): JsonObject {
  const object = new JsonObject();
  scanner.at += 1;
  skipSpace(scanner);
  if (scanner.text[scanner.at] === '}') {
    scanner.at += 1;
    return object;
  }
  for (;;) {
    skipSpace(scanner);
    if (scanner.text[scanner.at] !== '"')
      throw unexpected(scanner, 'looking for beginning of object key string');
    const key = readString(scanner);
    skipSpace(scanner);
    if (scanner.text[scanner.at] !== ':') throw unexpected(scanner, 'after object key');
    scanner.at += 1;
    skipSpace(scanner);
    if (depth === 0) scanner.field = key;
    object.entries.push([key, readValue(scanner, depth + 1)]);
    skipSpace(scanner);
    const char = scanner.text[scanner.at];
    if (char !== ',' && char !== '}') throw unexpected(scanner, 'after object key:value pair');
    scanner.at += 1;
    if (char === '}') return object;
  }
}

function readArray(scanner: Scanner, depth: number): JsonValue[] {
  const items: JsonValue[] = [];
  scanner.at += 1;
  skipSpace(scanner);
  if (scanner.text[scanner.at] === ']') {
    scanner.at += 1;
    return items;
  }
  for (;;) {
    skipSpace(scanner);
    items.push(readValue(scanner, depth + 1));
    skipSpace(scanner);
    const char = scanner.text[scanner.at];
    if (char !== ',' && char !== ']') throw unexpected(scanner, 'after array element');
    scanner.at += 1;
    if (char === ']') return items;
  }
}

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

function readString(scanner: Scanner): string {
  const { text } = scanner;
  let result = '';
  let start = scanner.at + 1;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      scanner.at = at + 1;
      // Go replaces a surrogate without its other half.
      return (result + text.slice(start, at)).toWellFormed();
    }
    if (code < 0x20) throw unexpected({ text, at, values: 0 }, 'in string literal');
    if (code !== 0x5c) continue;
    result += text.slice(start, at);
    const escape = readEscape(text, at);
    result += escape.value;
    at += escape.length - 1;
    start = at + 1;
  }
  throw new AppError('invalid_input', 'unexpected EOF');
}

function readEscape(text: string, at: number): { value: string; length: number } {
  const char = text[at + 1];
  if (char === 'u') {
    for (let digit = at + 2; digit < at + 6; digit += 1) {
      if (!/^[0-9a-fA-F]$/.test(text[digit] ?? '')) {
        throw unexpected({ text, at: digit, values: 0 }, String.raw`in \u hexadecimal character escape`);
      }
    }
    return { value: String.fromCharCode(Number.parseInt(text.slice(at + 2, at + 6), 16)), length: 6 };
  }
  const value = char === undefined ? undefined : escapes[char];
  if (value === undefined) throw unexpected({ text, at: at + 1, values: 0 }, 'in string escape code');
  return { value, length: 2 };
}

function readLiteral<T extends boolean | null>(scanner: Scanner, word: string, value: T): T {
  for (let index = 1; index < word.length; index += 1) {
    if (scanner.text[scanner.at + index] !== word[index]) {
      const place = { ...scanner, at: scanner.at + index };
      throw unexpected(place, `in literal ${word} (expecting '${word[index] ?? ''}')`);
    }
  }
  scanner.at += word.length;
  return value;
}

function readNumber(scanner: Scanner): JsonNumber {
  const start = scanner.at;
  if (scanner.text[scanner.at] === '-') scanner.at += 1;
  if (scanner.text[scanner.at] === '0') scanner.at += 1;
  else readDigits(scanner, 'in numeric literal');
  if (scanner.text[scanner.at] === '.') {
    scanner.at += 1;
    readDigits(scanner, 'after decimal point in numeric literal');
  }
  if (scanner.text[scanner.at] === 'e' || scanner.text[scanner.at] === 'E') {
    scanner.at += 1;
    if (scanner.text[scanner.at] === '+' || scanner.text[scanner.at] === '-') scanner.at += 1;
    readDigits(scanner, 'in exponent of numeric literal');
  }
  return new JsonNumber(scanner.text.slice(start, scanner.at));
}

function readDigits(scanner: Scanner, where: string): void {
  const start = scanner.at;
  while (isDigit(scanner.text[scanner.at] ?? '')) scanner.at += 1;
  if (scanner.at === start) throw unexpected(scanner, where);
}

function isDigit(char: string): boolean {
  return char >= '0' && char <= '9' && char.length === 1;
}

function skipSpace(scanner: Scanner): void {
  for (;;) {
    const code = scanner.text.charCodeAt(scanner.at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    scanner.at += 1;
  }
}

/** Go says where bytes are wrong, but of a limit it would not say what went over it. */
function beyond({ field }: Scanner, message: string): AppError {
  if (field === undefined) return new AppError('invalid_input', message);
  const name = field.slice(0, 100);
  return new AppError('invalid_input', `${name}: ${message}`, { field: name });
}

function unexpected(scanner: Readonly<Scanner>, where: string): AppError {
  const point = scanner.text.codePointAt(scanner.at);
  if (point === undefined) return new AppError('invalid_input', 'unexpected EOF');
  return new AppError(
    'invalid_input',
    `invalid character ${quoteChar(String.fromCodePoint(point))} ${where}`,
  );
}

function quoteChar(char: string): string {
  if (char === "'") return String.raw`'\''`;
  if (char === '"') return `'"'`;
  return `'${JSON.stringify(char).slice(1, -1)}'`;
}

/** A plain value: the last of doubled keys wins, `__proto__` is a key like any other. */
export function toPlain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (value instanceof JsonObject) {
    return Object.fromEntries(value.entries.map(([key, item]) => [key, toPlain(item)]));
  }
  return Array.isArray(value) ? value.map((item) => toPlain(item)) : value;
}
