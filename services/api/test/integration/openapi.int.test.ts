import { Validator } from '@seriousme/openapi-schema-validator';
import { Compile } from 'typebox/compile';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '@sluice/shared/testing';
import { openEvents } from './event-reader.ts';
import { presign, startExampleWorld } from './example-world.ts';
import { describeApi } from '../../src/http/openapi/describe.ts';
import { startFixture, type Answer, type Fixture } from './fixture.ts';

type Node = Readonly<Record<string, unknown>>;
interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly example?: unknown;
}
interface Response {
  readonly $ref?: string;
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema: Node; readonly example?: unknown }>>;
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, { readonly schema: Node; readonly example?: unknown }>>;
  };
  readonly responses: Readonly<Record<string, Response>>;
}
interface Document {
  readonly info: { readonly version: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: Node;
}

const document = (await describeApi('1.2.3')) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
);

/** Says no to what the schema does not tell of. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map((item) => closed(item));
  if (typeof node !== 'object' || node === null) return node;
  const inner = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]));
  const open = 'properties' in inner && !('additionalProperties' in inner) && inner['type'] === 'object';
  return open ? { ...inner, additionalProperties: false } : inner;
}

const components = closed(document.components);

/** What is wrong with a value, by a schema of the document; empty where it fits. */
function faults(schema: Node, value: unknown): string[] {
  const validator = Compile({ ...(closed(schema) as Node), components });
  return validator.Check(value)
    ? []
    : validator.Errors(value).map((fault) => `${fault.instancePath} ${fault.message}`);
}

test('the check of answers itself refuses what does not fit', () => {
  const run = { $ref: '#/components/schemas/Failure' };
  expect(faults(run, { code: 'lost', message: 'gone' })).toEqual([]);
  expect(faults(run, { code: 'lost' })).not.toEqual([]);
  expect(faults(run, { code: 'lost', message: 'gone', more: 1 })).not.toEqual([]);
});

const successOf = (operation: Operation) =>
  Object.entries(operation.responses).filter(([status]) => Number(status) < 400);

describe('/openapi.json', () => {
  let api: Fixture;
  beforeAll(async () => {
    api = await startFixture();
  });
  afterAll(async () => api.close());

  test('is what the server answers, without a login', async () => {
    const answer = await api.call('GET', '/openapi.json', { as: null });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.json()).toEqual(document);
    expect(document.info.version).toBe('1.2.3');
  });

  test('is OpenAPI 3.1', async () => {
    const result = await new Validator().validate(
      structuredClone(document) as unknown as Record<string, unknown>,
    );
    expect(result.errors).toBeUndefined();
    expect(result.valid).toBe(true);
  });

  test('refers to nothing that is not there, and tells of nothing twice', () => {
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/([\w-]+)"/g)];
    expect(refs.length).toBeGreaterThan(20);
    for (const [, kind = '', name = ''] of refs) expect(document.components).toHaveProperty([kind, name]);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(operations.map((entry) => ({ ...entry, name: `${entry.method} ${entry.path}` })))(
    '$name has a summary, a known tag, a success and examples',
    ({ operation, path }) => {
      expect(operation.summary).toMatch(/^[A-Z][^\n]*\.$/);
      expect(operation.tags).toHaveLength(1);
      expect(document.tags.map(({ name }) => name)).toContain(operation.tags[0]);
      expect(successOf(operation).length).toBeGreaterThan(0);
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`).sort()).toEqual((path.match(/\{\w+\}/g) ?? []).sort());
      for (const parameter of operation.parameters ?? []) {
        if (parameter.required) expect(parameter).toHaveProperty('example');
      }
      for (const media of Object.values(operation.requestBody?.content ?? {})) {
        expect(media).toHaveProperty('example');
        if (typeof media.example === 'object') expect(faults(media.schema, media.example)).toEqual([]);
      }
      for (const [, response] of successOf(operation)) {
        const [media] = Object.values(response.content ?? {});
        if (media === undefined) continue;
        expect(media).toHaveProperty('example');
        expect(faults(media.schema, media.example)).toEqual([]);
      }
    },
  );
});

describe('the example of', () => {
  test.each(operations.map((entry) => ({ ...entry, name: `${entry.method} ${entry.path}` })))(
    '$name is true',
    async ({ method, path, operation }) => {
      const { api, token } = await startExampleWorld();
      try {
        const answer = await send(api, token, method, path, operation);
        const response = operation.responses[String(answer.status)];
        expect(response, `${answer.status} ${answer.text}`).toBeDefined();
        expect(answer.status, answer.text).toBeLessThan(400);
        expectAsSaid(answer, response ?? {}, method);
      } finally {
        await api.close();
      }
    },
  );
});

async function send(
  api: Fixture,
  token: string,
  method: string,
  path: string,
  operation: Operation,
): Promise<Answer> {
  const [scheme] = operation.security.flatMap((entry) => Object.keys(entry));
  const given = (place: Parameter['in']) =>
    (operation.parameters ?? [])
      .filter((parameter) => parameter.in === place && parameter.example !== undefined)
      .map(({ name, example }) => [name, String(example)] as const);
  const values = new Map(given('path'));
  const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => values.get(name) ?? '');
  const query = new URLSearchParams(Object.fromEntries(given('query'))).toString();
  const target =
    scheme === 'presigned'
      ? await presign(api, method === 'PUT' ? 'upload' : 'download', {
          bucket: values.get('bucket') ?? '',
          key: values.get('key') ?? '',
        })
      : `${filled}${query === '' ? '' : `?${query}`}`;
  const [, success] = successOf(operation)[0] ?? [];
  if (Object.keys(success?.content ?? {}).join() === 'text/event-stream') {
    return firstEvents(api, target);
  }
  const [body] = Object.values(operation.requestBody?.content ?? {});
  return api.call(method, target, {
    as: scheme === 'basic' ? 'admin' : scheme === 'bearer' ? token : null,
    headers: Object.fromEntries(given('header')),
    ...(body === undefined ? {} : { body: textOf(body.example) }),
  });
}

/** What a stream answers with, up to its first message. */
async function firstEvents(api: Fixture, target: string): Promise<Answer> {
  const reader = await openEvents(api, target);
  await eventually('a message', () => reader.seen.length > 0);
  reader.drop();
  const text = JSON.stringify(reader.seen);
  return { ...reader, text, bytes: Buffer.from(text), json: () => reader.seen };
}

function textOf(example: unknown): string {
  return typeof example === 'string' ? example : JSON.stringify(example);
}

function expectAsSaid(answer: Answer, response: Response, method: string): void {
  const content = Object.entries(response.content ?? {});
  if (content.length === 0 || method === 'HEAD') {
    expect(answer.text).toBe('');
    return;
  }
  const type = answer.headers['content-type']?.split(';', 1)[0] ?? '';
  const [, media] = content.find(([name]) => name === type) ?? [];
  // Objects have the type that they were stored with.
  expect(Object.keys(response.content ?? {}), type).toContain(
    response.content?.['application/octet-stream'] === undefined ? type : 'application/octet-stream',
  );
  if (media === undefined || type !== 'application/json') return;
  expect(faults(media.schema, answer.json())).toEqual([]);
}
