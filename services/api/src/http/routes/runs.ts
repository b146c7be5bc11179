import { runStates } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { RunQuery } from '@sluice/shared/stores';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { maxPiece, readPiece } from '../../app/read-log.ts';
import { parseStates, runOnWire, WireRun } from '../../domain/run-wire.ts';
import { principalOf } from '../access.ts';
import type { HttpContext } from '../context.ts';
import type { EventStreams } from '../event-streams.ts';
import { headerOf, sendText } from '../replies.ts';
import { runExamples } from '../examples/runs.ts';
import { eventStream, json, nothing, text, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { LiveHeaders, liveRoutes, sendLogStream, wantsStream } from './live.ts';
import { admin, adminOrService } from '../types.ts';

const Id = Type.Object({ id: Type.String() });
const ListQuery = Type.Object({
  service: Type.Optional(Type.String()),
  state: Type.Optional(Type.String({ description: 'comma list of states' })),
  bucket: Type.Optional(Type.String({ description: 'with `key`: runs of this input object' })),
  key: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  cursor: Type.Optional(Type.String()),
});
const RunList = Type.Object({ runs: Type.Array(WireRun), next: Type.Optional(Type.String()) });
/** A piece is at least long enough for a time stamp, so that every piece gets on. */
const LogQuery = Type.Object({
  timestamps: Type.Optional(Type.Boolean()),
  offset: Type.Optional(Type.Integer({ minimum: 0 })),
  limit: Type.Optional(Type.Integer({ minimum: 1024, maximum: maxPiece })),
  follow: Type.Optional(
    Type.Boolean({ description: 'as server-sent events until the run ends; `limit` means nothing then' }),
  ),
  last_event_id: Type.Optional(Type.String({ maxLength: 100, description: 'as `Last-Event-ID`' })),
});
const RetryHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, description: 'makes a repeated call one retry' }),
  ),
});

const docs = {
  list: {
    summary: 'Runs, newest first.',
    tag: 'runs',
    querystring: ListQuery,
    response: { 200: json(RunList, 'A page of runs; `next` is the cursor of the next one.') },
    example: runExamples.list,
  },
  read: {
    summary: 'A run with its time line.',
    tag: 'runs',
    params: Id,
    response: { 200: json(WireRun, 'The run.') },
    errors: [404],
    example: runExamples.read,
  },
  log: {
    summary: 'A piece of what a run prints.',
    tag: 'runs',
    params: Id,
    querystring: LogQuery,
    description:
      'With `Accept: text/event-stream` or `follow=true`: a message for each line (a very long one comes in ' +
      'pieces), its id the byte at which the next one begins; then `end` with the final state of the run.',
    headers: LiveHeaders,
    response: {
      200: eventStream(
        'The piece, or the lines as they come.',
        text('The piece.', {
          'X-Next-Offset': Type.Integer({ description: 'where the next piece begins' }),
          'X-Log-Complete': Type.Boolean({ description: 'false: ask again from the next offset' }),
        }),
      ),
      204: nothing('The caller has read `end`.'),
    },
    errors: [404, 429],
    example: runExamples.log,
  },
  cancel: {
    summary: 'Ends a run.',
    tag: 'runs',
    params: Id,
    response: { 202: json(WireRun, 'The run, which will end soon.') },
    errors: [404, 409],
    example: runExamples.cancel,
  },
  retry: {
    summary: 'A new run of the same input.',
    tag: 'runs',
    params: Id,
    headers: RetryHeaders,
    response: { 201: json(WireRun, 'The new run.', { Location: Type.String() }) },
    errors: [400, 404, 409],
    example: runExamples.retry,
  },
} as const satisfies Record<string, RouteDoc>;

/** Runs as a resource. @returns the streams of this server, for routes that have some, too */
export function runRoutes(app: FastifyInstance, context: HttpContext): EventStreams {
  const streams = liveRoutes(app, context);
  addRoute(app, {
    method: 'GET',
    url: '/system/runs',
    access: adminOrService('runs.list'),
    wire: 'sluice',
    schema: docs.list,
    handler: async (request) => {
      const page = await context.runs.list(principalOf(request), runQuery(request));
      return {
        runs: page.items.map((run) => runOnWire(run)),
        ...(page.next === undefined ? {} : { next: page.next }),
      };
    },
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/runs/:id',
    access: adminOrService('runs.read'),
    wire: 'sluice',
    schema: docs.read,
    handler: async (request) => runOnWire(await context.runs.get(principalOf(request), idOf(request))),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/runs/:id/log',
    access: adminOrService('runs.read'),
    wire: 'sluice',
    schema: docs.log,
    handler: async (request, reply) => {
      const query = request.query as Static<typeof LogQuery>;
      const { timestamps = false, offset = 0, limit = maxPiece, follow } = query;
      if (wantsStream(request, follow)) return sendLogStream(request, reply, { context, streams });
      const run = await context.runs.get(principalOf(request), idOf(request));
      const piece = await readPiece(run, { timestamps, offset, limit }, context.logs);
      void reply
        .header('x-next-offset', String(piece.nextOffset))
        .header('x-log-complete', String(piece.complete));
      return sendText(reply, Buffer.from(piece.data));
    },
  });
  changeRoutes(app, context);
  return streams;
}

function changeRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: '/system/runs/:id/cancel',
    access: adminOrService('runs.cancel'),
    wire: 'sluice',
    schema: docs.cancel,
    handler: async (request, reply) => {
      const run = await context.runs.cancel(principalOf(request), idOf(request));
      return reply.code(202).send(runOnWire(run));
    },
  });
  addRoute(app, {
    method: 'POST',
    url: '/system/runs/:id/retry',
    access: admin('runs.retry'),
    wire: 'sluice',
    schema: docs.retry,
    handler: async (request, reply) => {
      const idempotencyKey = headerOf(request, 'idempotency-key');
      if (idempotencyKey !== undefined && (idempotencyKey === '' || idempotencyKey.length > 255)) {
        throw new AppError('invalid_input', 'Idempotency-Key must have 1 to 255 characters.', {
          field: 'Idempotency-Key',
        });
      }
      const run = await context.runs.retry(principalOf(request), idOf(request), {
        idempotencyKey,
        traceparent: request.span.traceparent,
      });
      return reply.code(201).header('location', `/system/runs/${run.id}`).send(runOnWire(run));
    },
  });
}

function idOf(request: FastifyRequest): string {
  return (request.params as Static<typeof Id>).id;
}

function runQuery(request: FastifyRequest): RunQuery {
  const { service, state, bucket, key, limit = 50, cursor } = request.query as Static<typeof ListQuery>;
  const states = state === undefined ? undefined : parseStates(state);
  if (state !== undefined && states === undefined) {
    throw new AppError('invalid_input', `state: must be a comma list of ${runStates.join(', ')}`, {
      field: 'state',
    });
  }
  if ((bucket === undefined) !== (key === undefined)) {
    const field = bucket === undefined ? 'bucket' : 'key';
    throw new AppError('invalid_input', `${field}: bucket and key go together`, { field });
  }
  return {
    limit,
    ...(service === undefined ? {} : { service }),
    ...(states === undefined ? {} : { states }),
    ...(bucket === undefined || key === undefined ? {} : { input: { bucket, key } }),
    ...(cursor === undefined ? {} : { cursor }),
  };
}
