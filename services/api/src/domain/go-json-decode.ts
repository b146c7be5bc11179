import { AppError } from '@sluice/shared/errors';
import type { Static, TSchema } from 'typebox';
import { JsonNumber, JsonObject, parseFirstJson, toPlain, type JsonValue } from './go-json-parse.ts';

/** The keywords of a schema that decoding and encoding go by. */
export interface SchemaNode {
  readonly type?: string;
  readonly title?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly minimum?: number;
  readonly maximum?: number;
}

export interface DecodeOptions {
  /** Go's name of the root type, for messages: `Service`. */
  readonly root: string;
  /** Paths (`expose.api_port`) of lists where one bare value stands for a list of it and 0 for none (OSCAR §11). */
  readonly scalarLists?: readonly string[];
}

interface Context {
  readonly root: string;
  readonly scalarLists: readonly string[];
  /** Go goes on after a wrong type and reports the first. */
  failure: AppError | undefined;
}

/**
 * Decodes a body as Go's `encoding/json` does with a struct (OSCAR §0): keys by exact, else case-insensitive match, the
 * last of doubled ones wins, unknown ones are ignored, `null` leaves the zero value, trailing bytes are ignored.
 * Required properties that are absent get Go's zero value (nil lists and maps: empty ones).
 * @throws AppError `invalid_input` with Go's message; `field` is set for a wrong type
 */
export function decodeGoJson<S extends TSchema>(
  schema: S,
  body: Uint8Array,
  options: DecodeOptions,
): Static<S> {
  const value = parseFirstJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  const context: Context = { root: options.root, scalarLists: options.scalarLists ?? [], failure: undefined };
  const node = schema as SchemaNode;
  const decoded = decodeValue(node, value, [], zeroOf(node), context);
  if (context.failure !== undefined) throw context.failure;
  return decoded as Static<S>;
}

/** Go's zero value of a type; undefined for a free one. */
export function zeroOf(node: SchemaNode): unknown {
  if (node.properties !== undefined) {
    const required = node.required ?? [];
    const present = Object.entries(node.properties).filter(([key]) => required.includes(key));
    return Object.fromEntries(present.map(([key, property]) => [key, zeroOf(property)]));
  }
  switch (node.type) {
    case 'object':
      return {};
    case 'array':
      return [];
    case 'string':
      return '';
    case 'boolean':
      return false;
    case 'integer':
    case 'number':
      return 0;
    default:
      return undefined;
  }
}

function decodeValue(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
): unknown {
  if (value === null) return current;
  if (node.properties !== undefined) return decodeStruct(node, value, path, current, context);
  switch (node.type) {
    case 'object':
      return decodeMap(node, value, path, current, context);
    case 'array':
      return decodeList(node, value, path, current, context);
    case 'string':
    case 'boolean':
      return typeof value === node.type ? value : wrongType(node, value, path, current, context);
    case 'integer':
    case 'number':
      return decodeNumber(node, value, path, current, context);
    default:
      return toPlain(value);
  }
}

function decodeStruct(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
): unknown {
  if (!(value instanceof JsonObject)) return wrongType(node, value, path, current, context);
  const properties = node.properties ?? {};
  const folded = new Map(Object.keys(properties).map((key) => [foldKey(key), key]));
  // An absent optional struct starts from its zero value.
  const known = isRecord(current) ? current : zeroOf(node);
  const fields = new Map<string, unknown>(Object.entries(isRecord(known) ? known : {}));
  for (const [key, item] of value.entries) {
    const name = Object.hasOwn(properties, key) ? key : folded.get(foldKey(key));
    const property = name === undefined ? undefined : properties[name];
    if (name === undefined || property === undefined) continue;
    const decoded = decodeValue(property, item, [...path, name], fields.get(name), context);
    if (decoded !== undefined) fields.set(name, decoded);
  }
  return Object.fromEntries(fields);
}

function decodeMap(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
): unknown {
  if (!(value instanceof JsonObject)) return wrongType(node, value, path, current, context);
  const item = itemOfMap(node);
  const entries = new Map<string, unknown>(Object.entries(isRecord(current) ? current : {}));
  for (const [key, entry] of value.entries) {
    entries.set(key, decodeValue(item, entry, path, zeroOf(item), context));
  }
  return Object.fromEntries(entries);
}

function decodeList(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
): unknown {
  const item = node.items ?? {};
  if (Array.isArray(value)) {
    return value.map((entry) => decodeValue(item, entry, path, zeroOf(item), context));
  }
  if (value instanceof JsonObject || !context.scalarLists.includes(path.join('.'))) {
    return wrongType(node, value, path, current, context);
  }
  const one = decodeValue(item, value, path, zeroOf(item), context);
  return one === zeroOf(item) ? [] : [one];
}

function decodeNumber(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
): unknown {
  if (!(value instanceof JsonNumber)) return wrongType(node, value, path, current, context);
  const number = Number(value.text);
  const fits =
    node.type === 'integer'
      ? /^-?\d+$/.test(value.text) && Number.isSafeInteger(number)
      : Number.isFinite(number);
  // `-0` is 0 in Go.
  return fits ? number + 0 : wrongType(node, value, path, current, context, ` ${value.text.slice(0, 40)}`);
}

/** What a map's values are. */
export function itemOfMap(node: SchemaNode): SchemaNode {
  return Object.values(node.patternProperties ?? {})[0] ?? {};
}

/** Go folds ASCII case and the two letters that fold into ASCII: the Kelvin sign and the long s. */
function foldKey(key: string): string {
  return key.replaceAll('\u017f', 's').toLowerCase();
}

function wrongType(
  node: SchemaNode,
  value: JsonValue,
  path: readonly string[],
  current: unknown,
  context: Context,
  literal = '',
): unknown {
  if (context.failure === undefined) {
    const what = `json: cannot unmarshal ${kindOf(value)}${literal} into Go`;
    const type = goType(node, context.root, path);
    const message =
      path.length === 0
        ? `${what} value of type ${type}`
        : `${what} struct field ${context.root}.${path.join('.')} of type ${type}`;
    context.failure = new AppError(
      'invalid_input',
      message,
      path.length === 0 ? {} : { field: path.join('.') },
    );
  }
  return current;
}

function kindOf(value: JsonValue): string {
  if (value instanceof JsonNumber) return 'number';
  if (value instanceof JsonObject) return 'object';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : 'string';
}

function goType(node: SchemaNode, root: string, path: readonly string[]): string {
  if (node.properties !== undefined)
    return `types.${node.title ?? (path.length === 0 ? root : capitalised(path.at(-1) ?? ''))}`;
  switch (node.type) {
    case 'array':
      return `[]${goType(node.items ?? {}, root, path)}`;
    case 'object':
      return `map[string]${goType(itemOfMap(node), root, path)}`;
    case 'integer':
      return 'int';
    case 'number':
      return 'float64';
    case 'boolean':
      return 'bool';
    default:
      return 'string';
  }
}

function capitalised(name: string): string {
  return name
    .split('_')
    .map((word) => `${word.charAt(0).toUpperCase()}${word.slice(1)}`)
    .join('');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
