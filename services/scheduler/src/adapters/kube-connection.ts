import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { Counter, metricOf, type Registry } from '@sluice/shared/telemetry';
import type { Dispatcher, Pool } from 'undici';
import type { KubeTarget } from './kube-config.ts';
import { kubeFailure, statusFailure, waitBefore } from './kube-errors.ts';

export interface KubeConnectionOptions {
  readonly target: KubeTarget;
  /** Namespace of all objects. */
  readonly namespace: string;
  readonly clock: Clock;
  /** From 0 to 1, for the spread of retries. */
  readonly random: () => number;
  /** Requests to the API server at the same time; more wait for their turn. @default 32 */
  readonly inFlight?: number;
  /** Milliseconds that one try of a request may take. @default 10000 */
  readonly timeoutMs?: number;
  /** How often a request is tried. @default 5 */
  readonly tries?: number;
  /** Counts requests. @default nobody counts */
  readonly metrics?: Registry;
}

/** Kinds of objects that are made and watched here. */
export type KubeResource = 'jobs' | 'pods';

export interface KubeList {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Token of the next page. */
  readonly next: string | undefined;
}

export interface KubeWatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/**
 * Objects of one namespace. Failures are AppErrors: `unavailable` after bounded retries (too many requests, the server in trouble or away), everything else
 * carries the server's own sentence and the verdict never.
 */
export interface KubeConnection {
  readonly namespace: string;
  /** False: an object of that name was there already, and nothing was changed. */
  create(resource: KubeResource, object: object): Promise<boolean>;
  /**
   * Deletes in the background; an object that is not there is fine.
   * @param graceSeconds for pods, instead of their own
   */
  remove(resource: KubeResource, name: string, graceSeconds?: number): Promise<void>;
  /** Undefined where there is none. */
  read(resource: KubeResource, name: string): Promise<unknown>;
  /**
   * All objects with these labels.
   * @param from a version that the answer must not be older than, `0` for any: the server's cache then answers, a hundred times faster; without it the answer is
   *   exact, and may come in pages
   */
  list(
    resource: KubeResource,
    query: {
      readonly labels: string;
      readonly from?: string;
      readonly limit?: number;
      readonly next?: string;
    },
  ): Promise<KubeList>;
  /** Changes from a version on, bookmarks included, until the server ends it or it fails. */
  watch(
    resource: KubeResource,
    query: { readonly labels: string; readonly from: string },
    signal: AbortSignal,
  ): AsyncIterable<KubeWatchEvent>;
  /** Why the pod of a Job could not be made (a quota, an admission rule), as the Job's events say; undefined where they say nothing. */
  refusals(job: string): Promise<string | undefined>;
  /** Whether the API server answers. */
  check(): Promise<void>;
  close(): Promise<void>;
}

interface Wire {
  readonly options: Required<Omit<KubeConnectionOptions, 'target' | 'namespace' | 'metrics'>> &
    KubeConnectionOptions;
  readonly pool: Pool;
  /** Apart, since a watch keeps its connection. */
  readonly watches: Pool;
  readonly headers: (fresh: boolean) => Promise<Readonly<Record<string, string>>>;
  readonly base: string;
  readonly count: (verb: Verb, resource: string, code: number | 'none') => void;
}

/** As Kubernetes' own metrics name them. */
type Verb = 'create' | 'delete' | 'get' | 'list' | 'watch';

/** A watch ends after this and is taken up again where it was, so that one whose connection is dead and silent is noticed. */
const watchSeconds = 290;
/** The server says where it is every minute; silence longer than this is a dead connection. */
const silenceMs = 100_000;
const headersMs = 30_000;

/** Speaks to the API server over connections that stay open. No rate limit of its own: the server's fairness says 429 and is obeyed. */
export async function createKubeConnection(given: KubeConnectionOptions): Promise<KubeConnection> {
  const wire = await wireOf(given);
  const { namespace } = given;
  const pathOf = (resource: KubeResource, name?: string): string =>
    `${base(wire, resource, namespace)}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
  return {
    namespace,
    create: async (resource, object) => {
      const answer = await call(wire, {
        verb: 'create',
        resource,
        path: pathOf(resource),
        body: object,
        also: [409],
      });
      // A name that is taken by an object that is just being deleted conflicts as well.
      return answer.status !== 409;
    },
    remove: async (resource, name, graceSeconds) => {
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: 'Background',
        ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
      };
      const path = pathOf(resource, name);
      await call(wire, { verb: 'delete', resource, path, body, also: [404, 409] });
    },
    read: async (resource, name) => {
      const answer = await call(wire, { verb: 'get', resource, path: pathOf(resource, name), also: [404] });
      return answer.status === 404 ? undefined : answer.body;
    },
    list: async (resource, { labels, from, limit, next }) => {
      const query = new URLSearchParams({ labelSelector: labels });
      if (from !== undefined) query.set('resourceVersion', from);
      if (limit !== undefined) query.set('limit', `${limit}`);
      if (next !== undefined) query.set('continue', next);
      const path = `${pathOf(resource)}?${query.toString()}`;
      return listOf((await call(wire, { verb: 'list', resource, path })).body);
    },
    watch: (resource, { labels, from }, signal) => {
      const query = new URLSearchParams({
        watch: 'true',
        labelSelector: labels,
        resourceVersion: from,
        allowWatchBookmarks: 'true',
        timeoutSeconds: `${watchSeconds}`,
      });
      return watch(wire, resource, `${pathOf(resource)}?${query.toString()}`, signal);
    },
    refusals: (job) => refusals(wire, namespace, job),
    check: async () => {
      const path = `${wire.base}/readyz`;
      await call(wire, { verb: 'get', resource: 'readyz', path, once: true, text: true });
    },
    close: async () => {
      await Promise.all([wire.pool.destroy(), wire.watches.destroy()]);
    },
  };
}

function base(wire: Wire, resource: KubeResource | 'events', namespace: string): string {
  const group = resource === 'jobs' ? 'apis/batch/v1' : 'api/v1';
  return `${wire.base}/${group}/namespaces/${encodeURIComponent(namespace)}/${resource}`;
}

async function refusals(wire: Wire, namespace: string, job: string): Promise<string | undefined> {
  const fieldSelector = `involvedObject.kind=Job,involvedObject.name=${job},reason=FailedCreate`;
  const query = new URLSearchParams({ fieldSelector, limit: '20' }).toString();
  const path = `${base(wire, 'events', namespace)}?${query}`;
  return lastMessage(listOf((await call(wire, { verb: 'list', resource: 'events', path })).body).items);
}

async function wireOf(given: KubeConnectionOptions): Promise<Wire> {
  const { Pool } = await import('undici');
  const { target, clock } = given;
  const options = { inFlight: 32, timeoutMs: 10_000, tries: 5, ...given };
  const common = { connect: { ...target.tls, timeout: options.timeoutMs }, pipelining: 1 };
  const known: { headers?: Readonly<Record<string, string>>; at: number } = { at: 0 };
  return {
    options,
    // A connection that a load balancer dropped in silence is found by its next request at the latest.
    pool: new Pool(target.server.origin, {
      ...common,
      connections: options.inFlight,
      keepAliveTimeout: 30_000,
    }),
    watches: new Pool(target.server.origin, common),
    base: target.server.pathname.replace(/\/$/, ''),
    count: counter(given.metrics),
    headers: async (fresh) => {
      const now = clock.monotonic();
      if (known.headers === undefined || fresh || now - known.at > 30_000) {
        known.headers = await target.headers();
        known.at = now;
      }
      return known.headers;
    },
  };
}

/** Each try is one: what is counted is what the API server has to do. */
function counter(metrics: Registry | undefined): Wire['count'] {
  if (metrics === undefined) return () => undefined;
  const requests = metricOf(metrics, Counter, {
    name: 'sluice_kubernetes_requests_total',
    help: 'Requests to the Kubernetes API server, by what was asked for and the status (none: no answer).',
    labelNames: ['verb', 'resource', 'code'],
    registers: [metrics],
  });
  return (verb, resource, code) => requests.inc({ verb, resource, code });
}

const methods = { create: 'POST', delete: 'DELETE', get: 'GET', list: 'GET' } as const;

interface Call {
  readonly verb: keyof typeof methods;
  readonly resource: string;
  readonly path: string;
  readonly body?: object;
  /** Statuses beside 2xx that are answers. */
  readonly also?: readonly number[];
  readonly once?: boolean;
  /** The answer is no JSON. */
  readonly text?: boolean;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function call(wire: Wire, request: Call): Promise<Answer> {
  const { clock, random, tries } = wire.options;
  for (let attempt = 1; ; attempt += 1) {
    let failure: AppError;
    try {
      return await callOnce(wire, request, attempt > 1);
    } catch (error) {
      failure = kubeFailure(error);
    }
    if (failure.retry !== 'later' || request.once === true || attempt >= tries) throw failure;
    await clock.sleep(waitBefore(attempt + 1, failure.retryAfterSeconds, random()));
  }
}

async function callOnce(wire: Wire, request: Call, fresh: boolean): Promise<Answer> {
  const { timeoutMs } = wire.options;
  const { verb, resource } = request;
  const given = await wire.headers(fresh);
  const answered = wire.pool.request({
    method: methods[verb],
    path: request.path,
    headers: { accept: 'application/json', 'content-type': 'application/json', ...given },
    body: request.body === undefined ? null : JSON.stringify(request.body),
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  answered.then(
    ({ statusCode }) => wire.count(verb, resource, statusCode),
    () => wire.count(verb, resource, 'none'),
  );
  const { statusCode, headers, body } = await answered;
  const text = await body.text();
  const isAnswer = (statusCode >= 200 && statusCode < 300) || (request.also ?? []).includes(statusCode);
  if (!isAnswer) throw statusFailure(statusCode, text, headers['retry-after']);
  return { status: statusCode, body: request.text === true ? text : parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError('unavailable', 'Kubernetes answered with something other than JSON.', {
      cause: error,
    });
  }
}

function listOf(body: unknown): KubeList {
  const { items, metadata } = body as {
    items?: unknown;
    metadata?: { resourceVersion?: string; continue?: string };
  };
  if (!Array.isArray(items) || metadata?.resourceVersion === undefined) {
    throw new AppError('unavailable', 'Kubernetes answered a list with something else.');
  }
  return {
    items,
    resourceVersion: metadata.resourceVersion,
    next: metadata.continue === undefined || metadata.continue === '' ? undefined : metadata.continue,
  };
}

function lastMessage(events: readonly unknown[]): string | undefined {
  const { message } = (events.at(-1) ?? {}) as { message?: string };
  return message?.replace(/^Error creating: /, '').slice(0, 500);
}

async function* watch(
  wire: Wire,
  resource: KubeResource,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<KubeWatchEvent> {
  let body: Dispatcher.ResponseData['body'] | undefined;
  try {
    const answer = await wire.watches.request({
      method: 'GET',
      path,
      headers: { accept: 'application/json', ...(await wire.headers(true)) },
      headersTimeout: headersMs,
      bodyTimeout: silenceMs,
      signal,
    });
    ({ body } = answer);
    wire.count('watch', resource, answer.statusCode);
    if (answer.statusCode !== 200) {
      throw statusFailure(answer.statusCode, await body.text(), answer.headers['retry-after']);
    }
    yield* linesOf(body);
  } catch (error) {
    if (signal.aborted) return;
    throw kubeFailure(error);
  } finally {
    body?.destroy();
  }
}

/** One object is limited to 1.5 MiB by etcd; in JSON it may be somewhat more. */
const maxLine = 8 * 2 ** 20;

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<KubeWatchEvent> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let length = 0;
  for await (const chunk of body) {
    const parts = decoder.decode(chunk, { stream: true }).split('\n');
    for (const [index, part] of parts.entries()) {
      pieces.push(part);
      length += part.length;
      if (length > maxLine) throw new AppError('unavailable', 'A line of a watch is too long.');
      if (index === parts.length - 1) break;
      const line = pieces.join('');
      pieces = [];
      length = 0;
      if (line !== '') yield eventOf(line);
    }
  }
}

function eventOf(line: string): KubeWatchEvent {
  try {
    const { type, object } = JSON.parse(line) as Partial<KubeWatchEvent>;
    if (typeof type === 'string') return { type, object };
  } catch (error) {
    throw new AppError('unavailable', `A watch sent what is no JSON: ${messageOf(error)}.`, { cause: error });
  }
  throw new AppError('unavailable', 'A watch sent an event without a type.');
}
