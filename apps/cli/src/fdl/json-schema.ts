import { notes, type Note } from './notes.ts';
import {
  cluster,
  oneOfKeys,
  requiredKeys,
  service,
  storageProviders,
  type Fields,
  type Kind,
} from './schema.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** As text is read: numbers and flags are taken as they are written (`cpu: 1.0`). */
const text = { type: ['string', 'number', 'boolean'] };
/** YAML 1.1's words, which OSCAR's files have. */
const flag = {
  anyOf: [
    { type: 'boolean' },
    {
      type: 'string',
      pattern: '^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy]([Ee][Ss])?|[Nn][Oo]?|[Oo]([Nn]|[Ff][Ff]))$',
    },
  ],
};

/**
 * FDL files as JSON Schema, for editors: the same keys and kinds as `parseFdl` reads, with what they mean. Stricter in one thing: keys are
 * written as here, while `parseFdl` takes them in any case (`Variables` and `Secrets`, which OSCAR's own files have, are known here too).
 * @throws Error where a key has no note or a note no key
 */
export function fdlJsonSchema(): JsonSchema {
  const used = new Set<string>();
  const shared = {
    storage_providers: schemaOf({ fields: storageProviders }, 'storage_providers', used),
    clusters: schemaOf({ mapOf: cluster }, 'clusters', used),
  };
  const { storage_providers: _, clusters: __, ...own } = service;
  const fields = fieldsSchema({ fields: own, required: [...requiredKeys, ...oneOfKeys] }, '', used);
  const unused = Object.keys(notes).filter((path) => !used.has(path));
  if (unused.length > 0) throw new Error(`notes about keys that do not exist: ${unused.join(', ')}`);
  const properties = { ...(fields['properties'] as object), ...pick(shared) };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'FDL: services of Sluice and OSCAR',
    description: 'Functions Definition Language: what services there are on which cluster.',
    type: 'object',
    required: ['functions'],
    additionalProperties: false,
    properties: {
      functions: {
        description: 'The services.',
        type: 'object',
        required: ['oscar'],
        additionalProperties: false,
        properties: { oscar: oscarSchema() },
      },
      ...pick(shared),
    },
    definitions: {
      service: {
        ...fields,
        required: requiredKeys,
        oneOf: oneOfKeys.map((key) => ({ required: [key] })),
        properties,
      },
      ...shared,
    },
  };
}

function oscarSchema(): JsonSchema {
  return {
    description: 'A list; each entry is a cluster’s name with a service below it.',
    type: 'array',
    minItems: 1,
    items: {
      description: 'Name of the cluster: a profile of `sluice profile list`, or any word.',
      type: 'object',
      minProperties: 1,
      propertyNames: { minLength: 1 },
      additionalProperties: { $ref: '#/definitions/service' },
    },
  };
}

function pick(shared: Readonly<Record<string, JsonSchema>>): Record<string, JsonSchema> {
  return Object.fromEntries(
    Object.entries(shared).map(([key, { description }]) => [
      key,
      // Beside $ref nothing else counts in draft 7.
      { description, allOf: [{ $ref: `#/definitions/${key}` }] },
    ]),
  );
}

type FieldsKind = { readonly fields: Fields; readonly required?: readonly string[] };

function fieldsSchema({ fields, required }: FieldsKind, at: string, used: Set<string>): JsonSchema {
  const properties = Object.fromEntries(
    Object.entries(fields).map(([key, kind]) => {
      const own = schemaOf(kind, at === '' ? key : `${at}.${key}`, used);
      return [key, required?.includes(key) === true ? own : orNothing(own)];
    }),
  );
  return {
    type: 'object',
    ...(required === undefined ? {} : { required }),
    additionalProperties: false,
    properties: at === 'environment' ? withCapitals(properties) : properties,
  };
}

function withCapitals(properties: Record<string, JsonSchema>): Record<string, JsonSchema> {
  const capitals = Object.entries(properties).map(([key, value]) => [
    key.replace(/^./, (letter) => letter.toUpperCase()),
    { ...value, description: `The same as "${key}".` },
  ]);
  return { ...properties, ...(Object.fromEntries(capitals) as Record<string, JsonSchema>) };
}

/** A key without a value counts as absent. */
function orNothing(own: JsonSchema): JsonSchema {
  const { type, anyOf, ...rest } = own;
  if (anyOf !== undefined) return { ...rest, anyOf: [...(anyOf as JsonSchema[]), { type: 'null' }] };
  return type === undefined ? own : { ...rest, type: [type, 'null'].flat() };
}

function schemaOf(kind: Kind, path: string, used: Set<string>): JsonSchema {
  const note = notes[path];
  if (note !== undefined) used.add(path);
  // Items and members are described by what holds them.
  else if (!path.endsWith('[]') && !path.endsWith('*')) throw new Error(`the key ${path} has no note`);
  return { ...described(note), ...shapeOf(kind, path, note ?? { text: '' }, used) };
}

function described(note: Note | undefined): JsonSchema {
  if (note === undefined) return {};
  return {
    description: note.text,
    ...(note.examples === undefined ? {} : { examples: note.examples }),
  };
}

function shapeOf(kind: Kind, path: string, note: Note, used: Set<string>): JsonSchema {
  if (typeof kind === 'object') {
    if ('listOf' in kind) return { type: 'array', items: schemaOf(kind.listOf, `${path}[]`, used) };
    if ('mapOf' in kind)
      return { type: 'object', additionalProperties: schemaOf(kind.mapOf, `${path}.*`, used) };
    return fieldsSchema(kind, path, used);
  }
  switch (kind) {
    case 'text':
      return textShape(note);
    case 'path':
      return { type: 'string', pattern: String.raw`[^\s/]` };
    case 'boolean':
      return flag;
    case 'integer':
      return { anyOf: [integer(note), wholeNumberText] };
    case 'texts':
      return { type: 'array', items: text };
    case 'integers':
      return { anyOf: [integer(note), { type: 'array', items: integer(note) }] };
    case 'text-map':
      return { type: 'object', additionalProperties: { type: [...text.type, 'null'] } };
    default:
      return {};
  }
}

function textShape(note: Note): JsonSchema {
  if (note.suggested !== undefined) return { anyOf: [{ enum: note.suggested }, text] };
  return { ...text, ...(note.maxLength === undefined ? {} : { maxLength: note.maxLength }) };
}

const wholeNumberText = { type: 'string', pattern: String.raw`^\s*[+-]?\d+\s*$` };

function integer({ min, max }: Note): JsonSchema {
  return {
    type: 'integer',
    ...(min === undefined ? {} : { minimum: min }),
    ...(max === undefined ? {} : { maximum: max }),
  };
}
