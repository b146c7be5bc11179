import type { Server } from './server.ts';

export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly schema: Schema;
  readonly example?: unknown;
}

/** One method of one path, as `/openapi.json` tells of it. */
export interface Operation {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly tag: string;
  /** Whose errors are problems; OSCAR's are texts. */
  readonly wire: 'oscar' | 'sluice';
  readonly scheme: 'basic' | 'bearer' | 'presigned' | 'none';
  readonly parameters: readonly Parameter[];
  readonly body?: { readonly isJson: boolean; readonly schema: Schema; readonly example: unknown };
  /** The status of the example. */
  readonly success: number;
  readonly statuses: ReadonlySet<number>;
}

interface Description {
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: Schema; readonly example?: unknown }>>;
  };
  readonly responses: Readonly<Record<string, { readonly $ref?: string }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Description>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** All operations of a server, in its own words. */
export async function readOperations(server: Server): Promise<readonly Operation[]> {
  const answer = await server.request('/openapi.json');
  const document = (await answer.json()) as Document;
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) =>
      operationOf(document, path, method.toUpperCase(), described),
    ),
  );
}

function operationOf(document: Document, path: string, method: string, described: Description): Operation {
  const statuses = Object.keys(described.responses).map(Number);
  const problems = Object.values(described.responses).some(({ $ref }) => $ref?.includes('/Problem') === true);
  const [scheme = 'none'] = described.security.flatMap((entry) => Object.keys(entry));
  const [media] = Object.entries(described.requestBody?.content ?? {});
  return {
    name: `${method} ${path}`,
    method,
    path,
    tag: described.tags[0] ?? '',
    wire: problems ? 'sluice' : 'oscar',
    scheme: scheme as Operation['scheme'],
    parameters: described.parameters ?? [],
    ...(media === undefined
      ? {}
      : {
          body: {
            isJson: media[0] === 'application/json',
            schema: resolved(document, media[1].schema),
            example: media[1].example,
          },
        }),
    success: Math.min(...statuses.filter((status) => status < 400)),
    statuses: new Set(statuses),
  };
}

/** A schema with what it refers to in its place. */
function resolved(document: Document, schema: Schema): Schema {
  const name = schema.$ref?.split('/').at(-1);
  const { properties, items, ...rest } =
    name === undefined ? schema : (document.components.schemas[name] ?? {});
  return {
    ...rest,
    ...(items === undefined ? {} : { items: resolved(document, items) }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([key, property]) => [key, resolved(document, property)]),
          ),
        }),
  };
}

export const parametersIn = (operation: Operation, place: Parameter['in']): readonly Parameter[] =>
  operation.parameters.filter((parameter) => parameter.in === place);
