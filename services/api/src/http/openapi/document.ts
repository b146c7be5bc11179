import { STATUS_CODES } from 'node:http';
import type { TSchema } from 'typebox';
import {
  jsonType,
  Problem,
  problemType,
  tags,
  textType,
  type Answer,
  type DocumentedRoute,
  type RequestBody,
  type RouteDoc,
} from '../route-doc.ts';
import { Ko } from '../envelope.ts';
import { createComponents, withoutRequired, type Components, type Node } from './schemas.ts';

const securitySchemes = {
  basic: { type: 'http', scheme: 'basic', description: 'The administrator.' },
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: "A service's own token: 64 hexadecimal characters.",
  },
  account: {
    type: 'apiKey',
    in: 'header',
    name: 'Authorization',
    description: 'An account of the builder: `uuid:key`, as it is or as base64, alone or behind `Basic`.',
  },
  presigned: {
    type: 'apiKey',
    in: 'query',
    name: 'X-Sluice-Signature',
    description: 'A URL as POST /system/buckets/{bucket}/presign gave it.',
  },
};

/** The whole API as OpenAPI 3.1, from what the routes say of themselves. */
export function openApiDocument(routes: readonly DocumentedRoute[], version: string): object {
  const components = createComponents();
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = pathOf(route.url);
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route, path, components);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version,
      summary: 'Turns files into results: each file that lands becomes one run of a script.',
      description:
        "Two families of routes on one port: OSCAR's keep OSCAR's wire and answer errors in text, Sluice's own answer " +
        'errors as `application/problem+json`. A path with a slash at its end redirects to the one without.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'This server.' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    components: { schemas: components.schemas(), responses: components.responses(), securitySchemes },
  };
}

/** The router's pattern in the words of OpenAPI. */
function pathOf(url: string): string {
  return url.replace(/\*$/, '{key}').replaceAll(/:(\w+)/g, '{$1}');
}

function operation(route: DocumentedRoute, path: string, components: Components): object {
  const { doc } = route;
  const parameters = parametersOf(route, components);
  return {
    operationId: operationId(route.method, path),
    tags: [doc.tag],
    summary: doc.summary,
    ...(doc.description === undefined ? {} : { description: doc.description }),
    security: securityOf(route),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(doc.requestBody === undefined ? {} : { requestBody: bodyOf(doc.requestBody, doc, components) }),
    responses: responsesOf(route, components),
  };
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [method.toLowerCase(), ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join(
    '',
  );
}

function securityOf({ schemes, doc }: DocumentedRoute): object[] {
  if (doc.presigned === true) return [{ presigned: [] }];
  return schemes.map((scheme) => ({ [scheme]: [] }));
}

interface Place {
  readonly in: 'path' | 'query' | 'header';
  readonly schema: TSchema | undefined;
  readonly example: Readonly<Record<string, string>> | undefined;
}

function parametersOf({ url, doc }: DocumentedRoute, components: Components): object[] {
  const { params, query, headers } = doc.example;
  const places: Place[] = [
    { in: 'path', schema: doc.params, example: params },
    { in: 'query', schema: doc.querystring, example: query },
    { in: 'header', schema: doc.headers, example: headers },
  ];
  const listed = places.flatMap((place) => parametersIn(place, components));
  if (!url.endsWith('*')) return listed;
  const key = {
    name: 'key',
    in: 'path',
    required: true,
    description: 'Percent-encoded; `/` may stay.',
    schema: { type: 'string' },
    example: params?.['key'],
  };
  return [key, ...listed];
}

function parametersIn(place: Place, components: Components): object[] {
  const node = (place.schema ?? {}) as Node;
  const required = node.required ?? [];
  return Object.entries(node.properties ?? {}).map(([name, property]) => {
    const { description, ...schema } = components.use(property);
    const example = place.example?.[name];
    return {
      name,
      in: place.in,
      required: place.in === 'path' || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema,
      ...(example === undefined ? {} : { example: typedAs(schema, example) }),
    };
  });
}

/** Examples are texts, as they are in a URL; numbers and truth values are shown as such. */
function typedAs(schema: Node, example: string): unknown {
  return schema.type === 'integer' || schema.type === 'boolean' ? (JSON.parse(example) as unknown) : example;
}

function bodyOf(body: RequestBody, doc: RouteDoc, components: Components): object {
  const { goRequired } = body;
  const schema = goRequired === undefined ? body.schema : withoutRequired(body.schema, goRequired);
  const { body: example } = doc.example;
  const media = { schema: components.use(schema), ...(example === undefined ? {} : { example }) };
  return { required: body.required, content: { [body.type]: media } };
}

function responsesOf(route: DocumentedRoute, components: Components): object {
  const { doc } = route;
  const answers = Object.entries(doc.response).map(([status, answer]) => {
    const example = Number(status) === doc.example.status ? doc.example.response : answer.example;
    return [status, answerOf(answer, example, components)] as const;
  });
  const errors = errorStatuses(route).map(
    (status) => [String(status), errorOf(route, status, components)] as const,
  );
  // What a route says itself of an error counts.
  return Object.fromEntries([...errors, ...answers]);
}

function answerOf(answer: Answer, example: unknown, components: Components): object {
  const content = Object.entries(answer.content).map(
    ([type, schema], index) =>
      [
        type,
        { schema: components.use(schema), ...(example === undefined || index > 0 ? {} : { example }) },
      ] as const,
  );
  const headers = Object.entries(answer.headers ?? {}).map(([name, schema]) => {
    const { description, ...rest } = components.use(schema);
    return [name, { ...(description === undefined ? {} : { description }), schema: rest }] as const;
  });
  return {
    description: answer.description,
    ...(headers.length === 0 ? {} : { headers: Object.fromEntries(headers) }),
    ...(content.length === 0 ? {} : { content: Object.fromEntries(content) }),
  };
}

/** What every route of its kind can answer, and what this one adds. */
function errorStatuses({ schemes, doc }: DocumentedRoute): number[] {
  const statuses = new Set(doc.errors);
  // A name in the path may be no UTF-8, or too long.
  if ([doc.requestBody, doc.querystring, doc.params].some((input) => input !== undefined)) statuses.add(400);
  if (doc.requestBody !== undefined) statuses.add(408).add(413);
  if (schemes.length > 0) statuses.add(401).add(503);
  statuses.add(500);
  return [...statuses].sort((a, b) => a - b);
}

const meanings: Readonly<Record<number, string>> = {
  400: 'The input is wrong.',
  401: 'No valid login.',
  403: 'This login, or this URL, does not allow that.',
  404: 'There is no such thing, or not for this caller.',
  408: 'The body did not come in time.',
  409: 'Not in this state, or the name is taken.',
  412: 'A condition of the request does not hold.',
  413: 'The body is too large.',
  415: 'The content type is not JSON.',
  422: 'It is understood and cannot be done: an event that came through too many services, an image that cannot be built so.',
  429: 'A limit is reached: come back after `Retry-After` seconds.',
  500: 'A bug. The body is empty; `X-Request-Id` finds it in the log.',
  502: 'The runner was lost while it had the call: nobody knows how far the script came.',
  503: 'Something needed is away, or too much is under way: come back after `Retry-After` seconds.',
  504: 'There was no answer in time.',
  507: 'The disk is full: come back after `Retry-After` seconds.',
};

const errorNames = { sluice: 'Problem', oscar: 'Text', openserverless: 'Ko' } as const;

/** One component for each status and family. */
function errorOf({ wire }: DocumentedRoute, status: number, components: Components): object {
  const name = status === 500 ? 'Bug' : `${errorNames[wire]}${status}`;
  const retry = { description: 'seconds', schema: { type: 'integer' } };
  const content =
    wire === 'sluice'
      ? { [problemType]: { schema: components.use(Problem) } }
      : wire === 'openserverless'
        ? { [jsonType]: { schema: components.use(Ko) } }
        : { [textType]: { schema: { type: 'string' } } };
  return components.response(name, {
    description: meanings[status] ?? STATUS_CODES[status] ?? String(status),
    ...([429, 503, 507].includes(status) ? { headers: { 'Retry-After': retry } } : {}),
    ...(status === 500 ? {} : { content }),
  });
}
