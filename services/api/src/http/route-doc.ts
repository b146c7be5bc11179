import { Type, type TSchema } from 'typebox';
import type { Wire } from './types.ts';

/** Groups of routes, in the order in which the page shows them. */
export const tags = {
  services: 'What users describe: a script, its input paths and its output paths.',
  calls: 'Calls of a service.',
  runs: 'Runs, their logs and live events.',
  jobs: "Runs and their logs in OSCAR's words.",
  buckets: 'Buckets, and presigned URLs.',
  objects: 'What is in buckets.',
  builds: 'Requests for images, and their logs.',
  images: 'Built images.',
  openserverless: "The image builder in OpenServerless' words.",
  'dead-letters': 'Messages that could not be worked off.',
  system: 'The installation as a whole.',
  pages: 'For people with a browser, and this description.',
} as const;
export type Tag = keyof typeof tags;

/** What a route says of itself: checked at start, shown by `/openapi.json`, and its example is sent by a test. */
export interface RouteDoc {
  /** One sentence. */
  readonly summary: string;
  readonly tag: Tag;
  /** What the summary has no room for; Markdown. */
  readonly description?: string;
  readonly params?: TSchema;
  readonly querystring?: TSchema;
  /** Headers that mean something here; for the page only. */
  readonly headers?: TSchema;
  readonly requestBody?: RequestBody;
  /** Answers by status: those that are no errors, and errors that are not as those of every route. */
  readonly response: Readonly<Record<number, Answer>>;
  /** Statuses of errors beside those that every route of its kind has. */
  readonly errors?: readonly number[];
  readonly example: Example;
  /** The query proves the right to call: `access` is `none`. */
  readonly presigned?: true;
}

export interface RequestBody {
  readonly type: string;
  readonly schema: TSchema;
  /** False: an empty body means something, too. */
  readonly required: boolean;
  /** Decoded as Go does it: every other property may be absent, then it is empty. */
  readonly goRequired?: readonly string[];
}

export interface Answer {
  readonly description: string;
  /** Schemas by content type; none where the body is empty. */
  readonly content: Readonly<Record<string, TSchema>>;
  readonly headers?: Readonly<Record<string, TSchema>>;
  /** Of a success that the route's example is not about. */
  readonly example?: unknown;
}

/** One call as it may be, and its answer. A test makes the call: the answer must have this status and fit the schema. */
export interface Example {
  /** By name; the wildcard at the end of a path is `key`. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, or text for any other type. */
  readonly body?: unknown;
  readonly status: number;
  /** JSON, or text for any other type; absent where the answer has no body. */
  readonly response?: unknown;
}

type Headers = NonNullable<Answer['headers']>;

function answer(description: string, content: Answer['content'], headers?: Headers): Answer {
  return { description, content, ...(headers === undefined ? {} : { headers }) };
}

export const jsonType = 'application/json';
export const textType = 'text/plain';
export const htmlType = 'text/html';
const eventStreamType = 'text/event-stream';
export const ndjsonType = 'application/x-ndjson';
export const bytesType = 'application/octet-stream';
export const problemType = 'application/problem+json';

/** Server-sent events; `also` where the answer can have another form. */
export function eventStream(description: string, also?: Answer): Answer {
  return {
    ...also,
    description,
    content: { ...also?.content, [eventStreamType]: Type.String() },
  };
}

export function json(schema: TSchema, description: string, headers?: Headers): Answer {
  return answer(description, { [jsonType]: schema }, headers);
}

export function text(description: string, headers?: Headers): Answer {
  return answer(description, { [textType]: Type.String() }, headers);
}

/** Of any type; `type` where it is always the same. */
export function bytes(description: string, headers?: Headers, type = bytesType): Answer {
  return answer(description, { [type]: Type.String({ format: 'binary' }) }, headers);
}

export function nothing(description: string, headers?: Headers): Answer {
  return answer(description, {}, headers);
}

/** A JSON body of OSCAR's routes: any content type, keys in any case, what is absent is empty (OSCAR §0). */
export function goBody(schema: TSchema, required: readonly string[], optional = false): RequestBody {
  return { type: jsonType, schema, required: !optional, goRequired: required };
}

/** Any bytes. */
export const anyBody: RequestBody = {
  type: bytesType,
  schema: Type.String({ format: 'binary' }),
  required: false,
};

/** RFC 9457, as `error-handler.ts` writes it. */
export const Problem = Type.Object(
  {
    type: Type.Literal('about:blank'),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'a word for programs: invalid_input, not_found, …' }),
    detail: Type.String({ description: 'a sentence for people' }),
    field: Type.Optional(Type.String({ description: 'the part of the request that is at fault' })),
  },
  { title: 'Problem' },
);

/** A route as it was added, for the page. */
export interface DocumentedRoute {
  readonly method: string;
  readonly url: string;
  /** Kinds of credentials that it takes; none where nobody has to prove anything. */
  readonly schemes: readonly ('basic' | 'bearer' | 'account')[];
  readonly wire: Wire;
  readonly doc: RouteDoc;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `redirect`: the twin with a slash; `refusal`: a method that is none (405). The page shows neither. */
    doc?: RouteDoc | 'redirect' | 'refusal';
  }
}
