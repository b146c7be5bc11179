import { isDeepStrictEqual } from 'node:util';
import type { TSchema } from 'typebox';

/** A JSON Schema as far as it is looked into here. */
export interface Node {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly patternProperties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly [keyword: string]: unknown;
}

/** Parts of the document that are written once and referred to. */
export interface Components {
  /** The schema as it stands in the document: one with a `title` becomes a component of that name. */
  use(schema: TSchema): Node;
  response(name: string, response: object): object;
  schemas(): object;
  responses(): object;
}

export function createComponents(): Components {
  const schemas = new Map<string, Node>();
  const responses = new Map<string, object>();
  const keep = <T>(map: Map<string, T>, name: string, value: T): void => {
    const known = map.get(name);
    if (known !== undefined && !isDeepStrictEqual(known, value)) {
      throw new Error(`two components are called ${name}`);
    }
    map.set(name, value);
  };
  const convert = (node: Node): Node => {
    const { title, ...rest } = node;
    const plain = simplify(rest, convert);
    if (title === undefined) return plain;
    keep(schemas, title, plain);
    return { $ref: `#/components/schemas/${title}` };
  };
  return {
    use: (schema) => convert(schema as Node),
    response: (name, response) => {
      keep(responses, name, response);
      return { $ref: `#/components/responses/${name}` };
    },
    schemas: () => sorted(schemas),
    responses: () => sorted(responses),
  };
}

function sorted(map: ReadonlyMap<string, object>): object {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** TypeBox's forms in the words that readers and generators of clients know best. */
function simplify(node: Node, convert: (node: Node) => Node): Node {
  const { properties, patternProperties, items, anyOf, ...rest } = node;
  const words = anyOf?.map((item) => item.const);
  const [any] = Object.values(patternProperties ?? {});
  return {
    ...rest,
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, property]) => [name, convert(property)]),
          ),
        }),
    ...(any === undefined ? {} : { additionalProperties: convert(any) }),
    ...(items === undefined ? {} : { items: convert(items) }),
    ...(anyOf === undefined || words === undefined
      ? {}
      : words.every((word) => typeof word === 'string')
        ? { type: 'string', enum: words }
        : { anyOf: anyOf.map((item) => convert(item)) }),
  };
}

/** The schema of a body where only some of its own properties have to be there, and nothing further in. */
export function withoutRequired(schema: TSchema, required: readonly string[]): TSchema {
  const { title } = schema as Node;
  return {
    ...lenient(schema as Node),
    ...(title === undefined ? {} : { title }),
    ...(required.length === 0 ? {} : { required }),
  };
}

function lenient(node: Node): Node {
  const { required: _required, title: _title, properties, patternProperties, items, anyOf, ...rest } = node;
  const each = (nodes: Readonly<Record<string, Node>>) =>
    Object.fromEntries(Object.entries(nodes).map(([name, item]) => [name, lenient(item)]));
  return {
    ...rest,
    ...(properties === undefined ? {} : { properties: each(properties) }),
    ...(patternProperties === undefined ? {} : { patternProperties: each(patternProperties) }),
    ...(items === undefined ? {} : { items: lenient(items) }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map((item) => lenient(item)) }),
  };
}
