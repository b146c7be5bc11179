import { compareKeys } from '@sluice/shared/stores';
import type { Static, TSchema } from 'typebox';
import { itemOfMap, type SchemaNode } from './go-json-decode.ts';

/**
 * Encodes as Go's `encoding/json` does: compact, struct keys in the schema's order, map keys sorted by their bytes, `<`, `>`,
 * `&`, U+2028 and U+2029 escaped, no newline at the end (OSCAR §0). Absent (undefined) properties are left out.
 */
export function encodeGoJson<S extends TSchema>(schema: S, value: Static<S>): string {
  return encodeValue(schema, value);
}

function encodeValue(node: SchemaNode, value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => encodeValue(node.items ?? {}, item)).join(',')}]`;
  if (typeof value === 'object' && value !== null) return encodeObject(node, new Map(Object.entries(value)));
  if (typeof value === 'string') return encodeGoString(value);
  return JSON.stringify(value ?? null);
}

function encodeObject(node: SchemaNode, fields: ReadonlyMap<string, unknown>): string {
  const { properties } = node;
  const members: string[] = [];
  const add = (key: string, child: SchemaNode): void => {
    const value = fields.get(key);
    if (value !== undefined) members.push(`${encodeGoString(key)}:${encodeValue(child, value)}`);
  };
  if (properties !== undefined) for (const [key, child] of Object.entries(properties)) add(key, child);
  else for (const key of [...fields.keys()].sort(compareKeys)) add(key, itemOfMap(node));
  return `{${members.join(',')}}`;
}

const unsafe = /[<>&\u2028\u2029]/g;

/** A JSON string with Go's escapes for HTML. */
export function encodeGoString(value: string): string {
  return JSON.stringify(value.toWellFormed()).replaceAll(
    unsafe,
    (char) => String.raw`\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
