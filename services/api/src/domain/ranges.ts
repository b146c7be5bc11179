import type { TSchema } from 'typebox';
import type { Fault } from './faults.ts';
import { itemOfMap, type SchemaNode } from './go-json-decode.ts';

/** Numbers outside the limits that their schema sets. Shapes have been checked by decoding. */
export function checkRanges(schema: TSchema, value: unknown, path: string): Fault[] {
  return faultsOf(schema, value, path);
}

function faultsOf(node: SchemaNode, value: unknown, path: string): Fault[] {
  if (typeof value === 'number') return rangeFault(node, value, path);
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => faultsOf(node.items ?? {}, item, `${path}[${index}]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]: [string, unknown]) =>
    faultsOf(node.properties?.[key] ?? itemOfMap(node), item, path === '' ? key : `${path}.${key}`),
  );
}

function rangeFault(node: SchemaNode, value: number, path: string): Fault[] {
  const { minimum = -Infinity, maximum = Infinity } = node;
  if (value >= minimum && value <= maximum) return [];
  return [{ field: path, message: `must be ${minimum} to ${maximum}` }];
}
