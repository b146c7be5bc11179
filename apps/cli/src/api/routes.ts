import type { CliError } from '../cli-error.ts';
import type { JsonObject } from '../fdl/decode.ts';
import { createBuildRoutes, type BuildApi } from './build-routes.ts';
import { encodeKey, type ApiClient } from './client.ts';
import type { HttpReply, StreamBody } from './transport.ts';
import {
  listIn,
  parseDeadLetter,
  parseEntry,
  parseRun,
  record,
  strangeAnswer,
  textIn,
  type JsonRecord,
  type WireDeadLetter,
  type WireEntry,
  type WireRun,
} from './wire.ts';

export interface RunFilter {
  readonly service?: string;
  /** States, comma between them. */
  readonly state?: string;
  readonly bucket?: string;
  readonly key?: string;
}

interface Page<T> {
  readonly items: readonly T[];
  /** Where the next page begins; absent on the last. */
  readonly next: string | undefined;
}

export interface LogPart {
  readonly reply: HttpReply;
  readonly nextOffset: number;
  readonly isComplete: boolean;
}

export interface CallRequest {
  readonly contentType: string | undefined;
  /** How long to wait for the answer. */
  readonly idleMs: number;
}

/** The server's routes (docs/http-api.md), one function each. */
export interface Api extends BuildApi {
  services(): Promise<readonly JsonRecord[]>;
  /** Undefined where there is none of that name. */
  service(name: string): Promise<JsonRecord | undefined>;
  createService(definition: JsonObject): Promise<readonly string[]>;
  updateService(definition: JsonObject): Promise<readonly string[]>;
  deleteService(name: string, keepBuckets: boolean): Promise<void>;
  /** Starts, stops or restarts what answers calls; @returns how it is then. */
  turnService(name: string, action: 'start' | 'stop' | 'restart'): Promise<JsonRecord>;
  /** @returns the run's id */
  submit(
    service: string,
    token: string,
    body: Uint8Array | undefined,
    idempotencyKey: string,
  ): Promise<string>;
  /** A synchronous call, sent once. The reply is whatever came, its body unread. */
  call(
    service: string,
    token: string,
    body: Uint8Array | undefined,
    options: CallRequest,
  ): Promise<HttpReply>;
  /** What the reply to a call says, where it is no success. */
  callError(reply: HttpReply): Promise<CliError>;
  runs(filter: RunFilter, limit: number, cursor?: string): Promise<Page<WireRun>>;
  run(id: string): Promise<WireRun>;
  cancelRun(id: string): Promise<WireRun>;
  retryRun(id: string): Promise<WireRun>;
  runLog(id: string, offset: number, timestamps: boolean): Promise<LogPart>;
  backfill(service: string, body: { prefix?: string; again: boolean }): Promise<JsonRecord>;
  deadLetters(limit: number, cursor?: string): Promise<Page<WireDeadLetter>>;
  redriveDeadLetter(id: string): Promise<JsonRecord>;
  deleteDeadLetter(id: string): Promise<void>;
  overview(): Promise<JsonRecord>;
  /** What the processes of the installation find; undefined from a server that does not tell. */
  checks(): Promise<JsonRecord | undefined>;
  /** Whether anybody answers; no login is needed. */
  health(): Promise<HttpReply>;
  /** What is switched on, and the S3 server. */
  systemConfig(): Promise<JsonRecord>;
  /** Version and machine, for whoever may log in. */
  info(): Promise<JsonRecord>;
  buckets(): Promise<readonly JsonRecord[]>;
  objects(
    bucket: string,
    query: { prefix?: string; after?: string; limit?: number },
  ): Promise<Page<WireEntry>>;
  /** @returns the ETag */
  putObject(bucket: string, key: string, body: StreamBody, contentType?: string): Promise<string | undefined>;
  /** Undefined where there is none. */
  headObject(bucket: string, key: string): Promise<{ readonly size: number | undefined } | undefined>;
  getObject(bucket: string, key: string): Promise<HttpReply>;
  deleteObject(bucket: string, key: string): Promise<void>;
}

const segment = (text: string): string => encodeKey(text).replaceAll('/', '%2F');

export function createApi(client: ApiClient): Api {
  return {
    ...serviceRoutes(client),
    turnService: turnService(client),
    ...runRoutes(client),
    ...adminRoutes(client),
    ...objectRoutes(client),
    ...createBuildRoutes(client),
  };
}

type ServiceRoutes = Pick<
  Api,
  | 'services'
  | 'service'
  | 'createService'
  | 'updateService'
  | 'deleteService'
  | 'submit'
  | 'call'
  | 'callError'
  | 'backfill'
>;

function turnService(client: ApiClient): Api['turnService'] {
  return async (name, action) => {
    const path = `/system/services/${segment(name)}/${action}`;
    return record(await client.json({ method: 'POST', path }), 'the state of the service');
  };
}

function serviceRoutes(client: ApiClient): ServiceRoutes {
  const write = async (method: 'POST' | 'PUT', definition: JsonObject): Promise<readonly string[]> => {
    const reply = await client.done({ method, path: '/system/services', body: JSON.stringify(definition) });
    return reply.headers('x-sluice-warning').map(headerText);
  };
  return {
    services: async () => {
      const list = listIn(
        await client.json({ method: 'GET', path: '/system/services' }),
        'the list of services',
      );
      return list.map((item) => record(item, 'a service'));
    },
    service: async (name) => {
      const found = await client.find({ method: 'GET', path: `/system/services/${segment(name)}` });
      return found === undefined ? undefined : record(found, 'a service');
    },
    createService: (definition) => write('POST', definition),
    updateService: (definition) => write('PUT', definition),
    deleteService: async (name, keepBuckets) => {
      const query = keepBuckets ? { query: { keep_buckets: true } } : {};
      await client.done({ method: 'DELETE', path: `/system/services/${segment(name)}`, ...query });
    },
    submit: async (service, token, body, idempotencyKey) => {
      const reply = await client.done({
        method: 'POST',
        path: `/job/${segment(service)}`,
        token,
        // The key makes a repetition harmless: it answers with the first run.
        repeatable: true,
        headers: { 'idempotency-key': idempotencyKey },
        ...(body === undefined ? {} : { body }),
      });
      const id = reply.header('x-run-id');
      if (id === undefined) throw strangeAnswer('the answer to a submit names no run');
      return id;
    },
    call: (service, token, body, { contentType, idleMs }) =>
      client.send({
        method: 'POST',
        path: `/run/${segment(service)}`,
        token,
        repeatable: false,
        accept: 'any',
        idleMs,
        ...(contentType === undefined ? {} : { headers: { 'content-type': contentType } }),
        ...(body === undefined ? {} : { body }),
      }),
    callError: client.errorOf,
    backfill: async (service, body) =>
      record(
        await client.json({
          method: 'POST',
          path: `/system/services/${segment(service)}/backfill`,
          body: JSON.stringify(body),
          // Objects that have had their run are left alone, unless they are to be run again.
          repeatable: !body.again,
        }),
        'the answer to a backfill',
      ),
  };
}

type RunRoutes = Pick<Api, 'runs' | 'run' | 'cancelRun' | 'retryRun' | 'runLog'>;

function runRoutes(client: ApiClient): RunRoutes {
  const path = (id: string, rest = ''): string => `/system/runs/${segment(id)}${rest}`;
  return {
    runs: async (filter, limit, cursor) => {
      const query = { ...filter, limit, cursor };
      const page = record(
        await client.json({ method: 'GET', path: '/system/runs', query }),
        'the list of runs',
      );
      return { items: listIn(page['runs'], '"runs"').map(parseRun), next: textIn(page, 'next') };
    },
    run: async (id) => parseRun(await client.json({ method: 'GET', path: path(id) })),
    cancelRun: async (id) => parseRun(await client.json({ method: 'POST', path: path(id, '/cancel') })),
    retryRun: async (id) => parseRun(await client.json({ method: 'POST', path: path(id, '/retry') })),
    runLog: async (id, offset, timestamps) => {
      const reply = await client.send({
        method: 'GET',
        path: path(id, '/log'),
        query: { offset, timestamps },
      });
      const next = Number(reply.header('x-next-offset'));
      if (!Number.isSafeInteger(next)) throw strangeAnswer('a log has no X-Next-Offset');
      return { reply, nextOffset: next, isComplete: reply.header('x-log-complete') === 'true' };
    },
  };
}

type AdminRoutes = Pick<
  Api,
  | 'deadLetters'
  | 'redriveDeadLetter'
  | 'deleteDeadLetter'
  | 'overview'
  | 'checks'
  | 'info'
  | 'health'
  | 'systemConfig'
>;

function adminRoutes(client: ApiClient): AdminRoutes {
  const path = (id: string, rest = ''): string => `/system/dead-letters/${segment(id)}${rest}`;
  return {
    deadLetters: async (limit, cursor) => {
      const query = { limit, cursor };
      const answer = await client.json({ method: 'GET', path: '/system/dead-letters', query });
      const page = record(answer, 'the list of dead letters');
      return {
        items: listIn(page['dead_letters'], '"dead_letters"').map(parseDeadLetter),
        next: textIn(page, 'next'),
      };
    },
    redriveDeadLetter: async (id) =>
      record(await client.json({ method: 'POST', path: path(id, '/redrive') }), 'the answer to a redrive'),
    deleteDeadLetter: async (id) => {
      await client.done({ method: 'DELETE', path: path(id) });
    },
    health: () => client.done({ method: 'GET', path: '/health' }),
    systemConfig: async () =>
      record(await client.json({ method: 'GET', path: '/system/config' }), 'the configuration'),
    info: async () =>
      record(await client.json({ method: 'GET', path: '/system/info' }), 'the information about the server'),
    checks: async () => {
      const answer = await client.find({ method: 'GET', path: '/system/checks' });
      return answer === undefined ? undefined : record(answer, 'the findings');
    },
    overview: async () =>
      record(await client.json({ method: 'GET', path: '/system/overview' }), 'the overview'),
  };
}

type ObjectRoutes = Pick<
  Api,
  'buckets' | 'objects' | 'putObject' | 'headObject' | 'getObject' | 'deleteObject'
>;

function objectRoutes(client: ApiClient): ObjectRoutes {
  const objectPath = (bucket: string, key: string): string =>
    `/system/buckets/${segment(bucket)}/objects/${encodeKey(key)}`;
  return {
    buckets: async () => {
      const list = listIn(
        await client.json({ method: 'GET', path: '/system/buckets' }),
        'the list of buckets',
      );
      return list.map((item) => record(item, 'a bucket'));
    },
    objects: async (bucket, query) => {
      const path = `/system/buckets/${segment(bucket)}/objects`;
      const page = record(await client.json({ method: 'GET', path, query }), 'the list of objects');
      return { items: listIn(page['objects'], '"objects"').map(parseEntry), next: textIn(page, 'next') };
    },
    putObject: async (bucket, key, body, contentType) => {
      const headers = contentType === undefined ? {} : { 'content-type': contentType };
      const path = objectPath(bucket, key);
      const repeatable = body.size !== undefined;
      const reply = await client.done({ method: 'PUT', path, body, headers, repeatable });
      return reply.header('etag');
    },
    headObject: async (bucket, key) => {
      const reply = await client.done({ method: 'HEAD', path: objectPath(bucket, key), accept: [404] });
      if (reply.status === 404) return undefined;
      const size = Number(reply.header('content-length'));
      return { size: Number.isSafeInteger(size) ? size : undefined };
    },
    getObject: (bucket, key) => client.send({ method: 'GET', path: objectPath(bucket, key) }),
    deleteObject: async (bucket, key) => {
      await client.done({ method: 'DELETE', path: objectPath(bucket, key) });
    },
  };
}

/** Header bytes are Latin-1 to HTTP; what is UTF-8 underneath is shown as such. */
function headerText(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  const text = bytes.toString('utf8');
  return text.includes('\uFFFD') ? value : text;
}
