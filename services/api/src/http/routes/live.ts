import { runStates, type RunState } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { followRunLog } from '../../app/live/follow-run-log.ts';
import { endId, followRun, followRuns } from '../../app/live/follow-runs.ts';
import type { RunEvent } from '../../app/live/run-feed.ts';
import { parseStates } from '../../domain/run-wire.ts';
import type { Principal } from '../../domain/policy.ts';
import { principalOf } from '../access.ts';
import type { HttpContext } from '../context.ts';
import { createEventStreams, type EventStreams } from '../event-streams.ts';
import { runExamples } from '../examples/runs.ts';
import { headerOf, sendStatus } from '../replies.ts';
import { eventStream, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { adminOrService } from '../types.ts';

const lastEventId = Type.Optional(
  Type.String({ maxLength: 100, description: 'as `Last-Event-ID`, for who cannot send headers' }),
);
const Id = Type.Object({ id: Type.String() });
const AllQuery = Type.Object({
  service: Type.Optional(Type.String()),
  state: Type.Optional(Type.String({ description: 'comma list of states' })),
  last_event_id: lastEventId,
});
const OneQuery = Type.Object({ last_event_id: lastEventId });
export const LiveHeaders = Type.Object({
  'Last-Event-ID': Type.Optional(Type.String({ description: 'the id of the last message that was read' })),
});

const docs = {
  all: {
    summary: 'Changes of runs as they happen.',
    tag: 'runs',
    description:
      'Server-sent events: `run` for each change of a state, `reset` where some changes before it are not known any more ' +
      '(list the runs anew and go on reading). A service sees its own runs.',
    querystring: AllQuery,
    headers: LiveHeaders,
    response: { 200: eventStream('Messages without an end.') },
    errors: [403, 429],
    example: runExamples.allEvents,
  },
  one: {
    summary: 'The states of one run as it reaches them.',
    tag: 'runs',
    description: 'Server-sent events: `run` with the present state and with each change, then `end`.',
    params: Id,
    querystring: OneQuery,
    headers: LiveHeaders,
    response: {
      200: eventStream('Messages until the run has ended.'),
      204: nothing('The caller has read `end`.'),
    },
    errors: [404, 429],
    example: runExamples.events,
  },
} as const satisfies Record<string, RouteDoc>;

/** Live events of runs, and what follows a log. */
export function liveRoutes(app: FastifyInstance, context: HttpContext): EventStreams {
  const streams = createEventStreams({ ...context, limits: context.config });
  app.addHook('preClose', (done) => {
    streams.close();
    done();
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/runs/events',
    access: adminOrService('runs.list'),
    wire: 'sluice',
    schema: docs.all,
    handler: (request, reply) => {
      const wanted = filterOf(request.query as Static<typeof AllQuery>, principalOf(request));
      const position = lastIdOf(request);
      return streams.send(request, reply, (following) => followRuns(wanted, position, context, following));
    },
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/runs/:id/events',
    access: adminOrService('runs.read'),
    wire: 'sluice',
    schema: docs.one,
    handler: async (request, reply) => {
      const run = await context.runs.get(principalOf(request), (request.params as Static<typeof Id>).id);
      const position = lastIdOf(request);
      if (position === endId) return sendStatus(reply, 204);
      const deps = { ...context, read: context.ledger.get };
      return streams.send(request, reply, (following) => followRun(run, position, deps, following));
    },
  });
  return streams;
}

/** The header of a client that comes again is newer than what its URL says. */
function lastIdOf(request: FastifyRequest): string | undefined {
  const { last_event_id: fromQuery } = request.query as Static<typeof OneQuery>;
  const id = headerOf(request, 'last-event-id') ?? fromQuery;
  return id === '' ? undefined : id;
}

function filterOf(query: Static<typeof AllQuery>, principal: Principal): (event: RunEvent) => boolean {
  const { service, state } = query;
  const states: ReadonlySet<RunState> | undefined =
    state === undefined ? undefined : new Set(parseStates(state));
  if (states?.size === 0) {
    throw new AppError('invalid_input', `state: must be a comma list of ${runStates.join(', ')}`, {
      field: 'state',
    });
  }
  const uid = principal.kind === 'service' ? principal.uid : undefined;
  if (principal.kind === 'service' && service !== undefined && service !== principal.service) {
    throw new AppError('forbidden', 'A service sees its own runs only.', { field: 'service' });
  }
  return (event) =>
    (uid === undefined || event.serviceUid === uid) &&
    (service === undefined || event.service === service) &&
    (states === undefined || states.has(event.state));
}

/** The log of a run as a stream: `Accept: text/event-stream`, or `follow`. */
export function wantsStream(request: FastifyRequest, follow: boolean | undefined): boolean {
  return follow ?? acceptsEvents(request);
}

export function acceptsEvents(request: FastifyRequest): boolean {
  return headerOf(request, 'accept')?.toLowerCase().includes('text/event-stream') === true;
}

/**
 * Where a log goes on for a client that comes again; `end` where it has read all.
 * @throws AppError `invalid_input`
 */
export function logPlaceOf(request: FastifyRequest, first: number): number | 'end' {
  const id = lastIdOf(request);
  if (id === undefined) return first;
  if (id === endId) return 'end';
  if (/^\d{1,15}$/.test(id)) return Number(id);
  throw new AppError('invalid_input', 'Last-Event-ID: must be the id of a message of this log', {
    field: 'Last-Event-ID',
  });
}

export async function sendLogStream(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: { readonly context: HttpContext; readonly streams: EventStreams },
): Promise<FastifyReply> {
  const { context, streams } = deps;
  const { offset: first = 0, timestamps = false } = request.query as {
    offset?: number;
    timestamps?: boolean;
  };
  const run = await context.runs.get(principalOf(request), (request.params as Static<typeof Id>).id);
  const offset = logPlaceOf(request, first);
  if (offset === 'end') return sendStatus(reply, 204);
  const from = { offset, timestamps };
  const follow = { ...context, read: context.ledger.get };
  return streams.send(request, reply, (following) => followRunLog(run, from, follow, following));
}
