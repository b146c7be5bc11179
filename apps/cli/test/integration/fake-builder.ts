import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { json, startServer, text, type Answer, type FakeServer, type Seen } from './helpers.ts';

/** A server with an image builder that answers as the real one does (docs/http-api.md), for how the client goes about builds. */
export interface FakeBuilder extends FakeServer {
  /** Bodies of what was started. */
  started(): StartBody[];
  readonly images: Map<string, FakeImage>;
  readonly services: Map<string, Record<string, unknown>>;
  /** Digest of the base image: a build of the same things has another one once it changes. */
  base: string;
  /** How builds go, one after the other; the last for all further ones. */
  course: Course[];
}

export interface StartBody {
  readonly source: string;
  readonly target: string;
  readonly kind: string;
  readonly file?: string;
  readonly [key: string]: unknown;
}

interface FakeImage {
  readonly tag: string;
  readonly image: string;
  readonly digest: string;
  readonly used_by: string[];
  readonly [key: string]: unknown;
}

export interface Course {
  /** What is said of the build, time after time; the last is its end, unless it is `stays`. */
  readonly says?: readonly Record<string, unknown>[];
  readonly log?: readonly string[];
}

interface Build {
  readonly id: string;
  readonly target: string;
  says: Record<string, unknown>[];
  readonly log: readonly string[];
  readonly fields: Record<string, unknown>;
}

const created = '2026-01-02T03:04:05.678Z';

export const goesWell: Course = {
  says: [
    { state: 'queued', message: 'waits for its turn' },
    { state: 'running', started_at: created, progress: { done: 1, total: 3, step: '[2/3] RUN pip install' } },
    { state: 'succeeded', started_at: created, ended_at: '2026-01-02T03:04:17.678Z' },
  ],
  log: ['#1 resolve base', '#2 Collecting six'],
};

export const fails: Course = {
  says: [
    { state: 'running', progress: { done: 1, total: 3, step: '[2/3] RUN pip install' } },
    { state: 'failed', code: 'requirements_failed', message: 'the step [2/3] RUN pip install failed' },
  ],
  log: ['#1 resolve base', '#2 ERROR: No matching distribution found for nosuch'],
};

/** @param takeOver may answer a request in the server's place by returning true */
export async function startBuilder(
  takeOver: (...args: Parameters<Answer>) => boolean = () => false,
): Promise<FakeBuilder> {
  const builds = new Map<string, Build>();
  const server = await startServer((request, response) => {
    if (takeOver(request, response)) return;
    const url = new URL(request.url, 'http://x');
    const [, , area = '', id = '', rest = ''] = url.pathname.split('/').map(decodeURIComponent);
    if (area === 'services') answerService(fake, request, response, id);
    else if (area === 'images') answerImage(fake, request, response, id, url);
    else if (area === 'builds') answerBuild(fake, builds, request, response, { id, rest, url });
    else if (url.pathname.endsWith('/build/start')) answerStart(fake, builds, request, response);
    else if (url.pathname.endsWith('/build/cleanup'))
      json(response, { message: 'Cleaned up 2 jobs successfully.', status: 'ok' });
    else text(response, '', 404);
  });
  const fake: FakeBuilder = {
    ...server,
    started: () =>
      server.seen
        .filter(({ url }) => url.endsWith('/build/start'))
        .map(({ body }) => JSON.parse(body.toString()) as StartBody),
    images: new Map(),
    services: new Map(),
    base: 'one',
    course: [goesWell],
  };
  return fake;
}

function answerService(fake: FakeBuilder, request: Seen, response: ServerResponse, name: string): void {
  if (request.method === 'GET') {
    const found = fake.services.get(name);
    if (found === undefined) text(response, '', 404);
    else json(response, found);
    return;
  }
  const definition = JSON.parse(request.body.toString()) as Record<string, unknown>;
  fake.services.set(String(definition['name']), definition);
  response.writeHead(request.method === 'POST' ? 201 : 204).end();
}

function answerStart(
  fake: FakeBuilder,
  builds: Map<string, Build>,
  request: Seen,
  response: ServerResponse,
): void {
  const body = JSON.parse(request.body.toString()) as StartBody;
  const id = `build-${builds.size + 1}`;
  const course = fake.course.length > 1 ? fake.course.shift() : fake.course[0];
  const digest = `sha256:${createHash('sha256')
    .update(`${JSON.stringify(body)}${fake.base}`)
    .digest('hex')}`;
  builds.set(id, {
    id,
    target: body.target,
    says: [...(course?.says ?? [])],
    log: course?.log ?? [],
    fields: { kind: body.kind, source: body.source, image: `pull.example:5000/${body.target}`, digest },
  });
  const more = { id, job_name: `build-anna-${id}`, image: `pull.example:5000/${body.target}` };
  json(response, { message: 'Build process initiated successfully.', status: 'ok', ...more, data: more });
}

function answerBuild(
  fake: FakeBuilder,
  builds: Map<string, Build>,
  request: Seen,
  response: ServerResponse,
  { id, rest, url }: { readonly id: string; readonly rest: string; readonly url: URL },
): void {
  if (id === '') {
    const state = url.searchParams.get('state');
    const all = [...builds.values()].map((build) => ticketOf(fake, build)).toReversed();
    const chosen = all.filter((build) => state === null || build['state'] === state);
    const from = Number(url.searchParams.get('after') ?? 0);
    const to = from + Number(url.searchParams.get('limit'));
    const page = { builds: chosen.slice(from, to), ...(to < chosen.length ? { next: String(to) } : {}) };
    json(response, page);
    return;
  }
  const build = builds.get(id);
  if (build === undefined) {
    json(response, { code: 'not_found', detail: `There is no build "${id}".` }, 404);
  } else if (rest === 'logs') {
    const offset = Number(url.searchParams.get('offset'));
    const lines = build.log.map((line, index) => ({ offset: (index + 1) * 10, time: created, line }));
    const isEnded = build.says.length === 1 && build.says[0]?.['state'] !== 'running';
    const entries = [
      ...lines.filter((line) => line.offset > offset),
      ...(isEnded ? [{ event: 'end', id }] : []),
    ];
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.end(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
  } else {
    if (request.method === 'DELETE') build.says = [{ state: 'cancelled', message: 'cancelled by anna' }];
    json(response, ticketOf(fake, build));
  }
}

/** How a build is, a step further than the time before. */
function ticketOf(fake: FakeBuilder, build: Build): Record<string, unknown> {
  const said = (build.says.length > 1 ? build.says.shift() : build.says[0]) ?? {};
  const { digest, ...fields } = build.fields;
  const isDone = said['state'] === 'succeeded';
  const tag = build.target.split(':')[1] ?? '';
  if (isDone) {
    const image = { tag, image: String(fields['image']), digest: String(digest), size: 2048, used_by: [] };
    fake.images.set(tag, { ...image, created_at: created, kind: fields['kind'], source: fields['source'] });
  }
  const { id, target } = build;
  const known = { id, user: 'anna', build: id, target, reused: false, created_at: created };
  return { ...known, ...fields, ...said, ...(isDone ? { digest } : {}) };
}

function answerImage(
  fake: FakeBuilder,
  { method }: Seen,
  response: ServerResponse,
  tag: string,
  url: URL,
): void {
  if (tag === '') {
    json(response, { images: [...fake.images.values()] });
    return;
  }
  if (tag === 'prune') {
    const removed = [...fake.images.values()].map(({ image }) => ({ image, why: 'older than 30 days' }));
    const isDry = url.searchParams.get('dry_run') === 'true';
    const kept = [{ image: 'anna:old', why: 'used by service x' }];
    json(response, {
      dry_run: isDry,
      removed,
      kept,
      ...(isDry ? {} : { collection: { state: 'scheduled' } }),
    });
    return;
  }
  const found = fake.images.get(tag);
  if (found === undefined) json(response, { code: 'not_found', detail: 'There is no such image.' }, 404);
  else if (method === 'GET') json(response, found);
  else if (found.used_by.length > 0 && url.searchParams.get('force') !== 'true')
    json(response, { code: 'conflict', detail: `The service ${found.used_by.join(', ')} uses it.` }, 409);
  else {
    fake.images.delete(tag);
    response.writeHead(204).end();
  }
}
