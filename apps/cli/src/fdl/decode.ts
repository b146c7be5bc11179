import { isMap, isScalar, isSeq } from 'yaml';
import type { Node, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import type { FdlDocument, Entry } from './document.ts';
import { childPath } from './problem.ts';
import { retiredKeys, serverKeys, type Fields, type Kind } from './schema.ts';
import { suggest } from './suggest.ts';

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

/** YAML 1.1's words, which OSCAR's Go clients take wherever a flag is wanted. */
const yes: ReadonlySet<string> = new Set(['true', 'yes', 'on', 'y']);
const no: ReadonlySet<string> = new Set(['false', 'no', 'off', 'n']);
const maxJsonDepth = 32;

/**
 * Reads a value of one kind. Lenient where OSCAR's own clients are: numbers and booleans become text where text is wanted
 * (`cpu: 1.0` stays "1.0"), one port counts as a list, keys are compared without case.
 * @returns undefined for what is absent, null, or wrong (which is reported on the document)
 */
export function decode(
  document: FdlDocument,
  node: Node | undefined,
  kind: Kind,
  path: string,
): Json | undefined {
  const value = document.resolve(node);
  if (value === undefined || (isScalar(value) && value.value === null)) return undefined;
  if (typeof kind !== 'string') return decodeNested(document, value, kind, path);
  switch (kind) {
    case 'text':
      return textOf(document, value, path);
    case 'path':
      return pathOf(document, value, path);
    case 'boolean':
      return booleanOf(document, value, path);
    case 'integer':
      return integerOf(document, value, path);
    case 'texts':
      return listOf(document, value, 'text', path);
    case 'integers':
      return isScalar(value)
        ? asList(integerOf(document, value, path))
        : listOf(document, value, 'integer', path);
    case 'text-map':
      return mapOf(document, value, 'text', path, '');
    default:
      return jsonOf(document, value, path, 0);
  }
}

type NestedKind = Exclude<Kind, string>;

function decodeNested(document: FdlDocument, value: Node, kind: NestedKind, path: string): Json | undefined {
  if ('listOf' in kind) return listOf(document, value, kind.listOf, path);
  if ('mapOf' in kind) return mapOf(document, value, kind.mapOf, path);
  return objectOf(document, value, kind, path);
}

function asList(value: Json | undefined): Json | undefined {
  return value === undefined ? undefined : [value];
}

/** What a node is, in words. */
export function describe(node: Node | undefined): string {
  if (isMap(node)) return 'a map';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node) || node.value === null) return 'nothing';
  return typeof node.value === 'string' ? 'text' : `the ${typeof node.value} ${sourceOf(node)}`;
}

function sourceOf(scalar: Scalar): string {
  return typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value));
}

function textOf(document: FdlDocument, value: Node, path: string): string | undefined {
  if (isScalar(value)) return sourceOf(value);
  document.problem(value, path, `must be text, but is ${describe(value)}; put it in quotes if it is text`);
  return undefined;
}

function pathOf(document: FdlDocument, value: Node, path: string): string | undefined {
  const text = textOf(document, value, path);
  if (text === undefined || trimPath(text) !== '') return text;
  document.problem(value, path, 'names no bucket');
  return undefined;
}

/** OSCAR §1.2 step 3. */
export function trimPath(path: string): string {
  return path.replaceAll(/^[\s/]+|[\s/]+$/g, '');
}

function booleanOf(document: FdlDocument, value: Node, path: string): boolean | undefined {
  if (isScalar(value)) {
    const word = sourceOf(value).toLowerCase();
    if (yes.has(word)) return true;
    if (no.has(word)) return false;
  }
  document.problem(value, path, `must be true or false, but is ${describe(value)}`);
  return undefined;
}

function integerOf(document: FdlDocument, value: Node, path: string): number | undefined {
  if (isScalar(value)) {
    const text = sourceOf(value).trim();
    const number =
      typeof value.value === 'number' ? value.value : /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    // 0 + x: a YAML -0 is a 0.
    if (Number.isSafeInteger(number)) return 0 + number;
  }
  document.problem(value, path, `must be a whole number, but is ${describe(value)}`);
  return undefined;
}

function listOf(document: FdlDocument, value: Node, kind: Kind, path: string): Json | undefined {
  if (!isSeq(value)) {
    document.problem(value, path, `must be a list, but is ${describe(value)}`);
    return undefined;
  }
  return itemsOf(value).flatMap((item, index) => {
    const itemPath = childPath(path, index);
    const before = document.problems.length;
    const decoded = decode(document, item, kind, itemPath);
    if (decoded !== undefined) return [decoded];
    if (document.problems.length === before) document.problem(item ?? value, itemPath, 'is empty');
    return [];
  });
}

/** The nodes of a list; a map entry written inside a flow list (`[a: 1]`) comes as a map from the parser. */
export function itemsOf(list: YAMLSeq): (Node | undefined)[] {
  return list.items.map((item) => (item as Node | null) ?? undefined);
}

function mapOf(
  document: FdlDocument,
  value: Node,
  kind: Kind,
  path: string,
  absent?: string,
): JsonObject | undefined {
  if (!isMap(value)) {
    document.problem(value, path, `must be a map, but is ${describe(value)}`);
    return undefined;
  }
  const decoded: [string, Json][] = [];
  for (const entry of document.entries(value, path)) {
    const before = document.problems.length;
    const item = decode(document, entry.value, kind, childPath(path, entry.key));
    if (item !== undefined) decoded.push([entry.key, item]);
    else if (absent !== undefined && document.problems.length === before) decoded.push([entry.key, absent]);
  }
  return Object.fromEntries(decoded);
}

function objectOf(
  document: FdlDocument,
  value: Node,
  kind: { readonly fields: Fields; readonly required?: readonly string[] },
  path: string,
): JsonObject | undefined {
  if (!isMap(value)) {
    document.problem(value, path, `must be a map, but is ${describe(value)}`);
    return undefined;
  }
  const decoded = new Map<string, Json>();
  const faulty = new Set<string>();
  for (const [name, entry] of knownEntries(document, value, kind.fields, path)) {
    const before = document.problems.length;
    const item = decode(document, entry.value, kind.fields[name] ?? 'json', childPath(path, entry.key));
    if (item !== undefined) decoded.set(name, item);
    if (document.problems.length > before) faulty.add(name);
  }
  for (const name of kind.required ?? []) {
    if (faulty.has(name)) continue;
    const given = decoded.get(name);
    if (given === undefined || given === '') document.problem(value, childPath(path, name), 'is missing');
  }
  return Object.fromEntries(decoded);
}

/** Entries under the names that the schema has for them. What it does not know is reported as a warning and left out. */
export function knownEntries(
  document: FdlDocument,
  map: YAMLMap,
  fields: Readonly<Record<string, unknown>>,
  path: string,
): [string, Entry][] {
  const byLower = new Map(Object.keys(fields).map((name) => [name.toLowerCase(), name]));
  const found = new Map<string, Entry>();
  for (const entry of document.entries(map, path)) {
    const name = byLower.get(entry.key.toLowerCase());
    if (name === undefined) {
      document.warning(entry.keyNode, childPath(path, entry.key), unknownKey(entry.key, Object.keys(fields)));
      continue;
    }
    const twin = found.get(name);
    if (twin !== undefined) {
      // Equal to the letter: the document has reported it.
      if (twin.key === entry.key) continue;
      const message = `is the same key as "${twin.key}"; upper and lower case make no difference`;
      document.problem(entry.keyNode, childPath(path, entry.key), message);
      continue;
    }
    found.set(name, entry);
  }
  return [...found];
}

function unknownKey(key: string, names: readonly string[]): string {
  const isService = names.includes('script');
  if (isService && retiredKeys.includes(key.toLowerCase())) {
    return 'is a key of OSCAR v3 and is ignored; see "federation"';
  }
  if (isService && serverKeys.includes(key.toLowerCase())) return 'is set by the server and is ignored';
  const meant = suggest(key, names);
  return meant === undefined
    ? 'is not a known key and is ignored'
    : `is not a known key and is ignored; did you mean "${meant}"?`;
}

/** Any value, as JSON has it. */
function jsonOf(
  document: FdlDocument,
  value: Node | undefined,
  path: string,
  depth: number,
): Json | undefined {
  const node = document.resolve(value);
  if (depth > maxJsonDepth) {
    document.problem(node, path, 'is nested too deeply');
    return undefined;
  }
  if (isMap(node)) {
    const entries = document
      .entries(node, path)
      .map(
        ({ key, value: item }) =>
          [key, jsonOf(document, item, childPath(path, key), depth + 1) ?? null] as const,
      );
    return Object.fromEntries(entries);
  }
  if (isSeq(node)) {
    return itemsOf(node).map(
      (item, index) => jsonOf(document, item, childPath(path, index), depth + 1) ?? null,
    );
  }
  if (!isScalar(node)) return null;
  const scalar = node.value;
  if (typeof scalar === 'string' || typeof scalar === 'boolean' || scalar === null) return scalar;
  return typeof scalar === 'number' && Number.isFinite(scalar) ? scalar : sourceOf(node);
}
