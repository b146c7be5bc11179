import type { BuildTicket } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { followBuildLog } from '../../app/live/follow-build-log.ts';
import { buildOnWire, isTicketId, readBuildState, WireBuild, WireUsage } from '../../domain/build-wire.ts';
import { accountOf, deskOf } from '../account-access.ts';
import type { HttpContext } from '../context.ts';
import type { EventStreams } from '../event-streams.ts';
import { buildExamples } from '../examples/builds.ts';
import { sendStatus } from '../replies.ts';
import { eventStream, json, ndjsonType, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { acceptsEvents, LiveHeaders, logPlaceOf } from './live.ts';

const Id = Type.Object({ id: Type.String() });
const ListQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  after: Type.Optional(Type.String({ maxLength: 500, description: '`next` of the page before' })),
  state: Type.Optional(Type.String({ description: 'only builds in this state' })),
});
const BuildList = Type.Object({ builds: Type.Array(WireBuild), next: Type.Optional(Type.String()) });
const LogQuery = Type.Object({
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'byte of the log to begin at' })),
  follow: Type.Optional(
    Type.Boolean({ description: 'until the build has ended; default true for server-sent events' }),
  ),
  timestamps: Type.Optional(Type.Boolean({ description: 'server-sent events with the times of lines' })),
  last_event_id: Type.Optional(Type.String({ maxLength: 100, description: 'as `Last-Event-ID`' })),
});

const docs = {
  list: {
    summary: "The caller's builds, newest first.",
    tag: 'builds',
    querystring: ListQuery,
    response: { 200: json(BuildList, 'A page of builds; `next` is the `after` of the next one.') },
    errors: [403],
    example: buildExamples.list,
  },
  usage: {
    summary: 'How many builds the caller has under way and may have, and what its images take.',
    tag: 'builds',
    response: { 200: json(WireUsage, 'Numbers of builds, images and bytes.') },
    errors: [403],
    example: buildExamples.usage,
  },
  read: {
    summary: 'A build.',
    tag: 'builds',
    params: Id,
    response: { 200: json(WireBuild, 'The build.') },
    errors: [403, 404],
    example: buildExamples.read,
  },
  cancel: {
    summary: 'Ends a build; one that has ended stays as it is.',
    tag: 'builds',
    description: 'Where others asked for the same content, the image is built for them all the same.',
    params: Id,
    response: { 200: json(WireBuild, 'The build as it is now.') },
    errors: [403, 404],
    example: buildExamples.cancel,
  },
  log: {
    summary: 'What a build prints, line by line.',
    tag: 'builds',
    description:
      'An object a line: `{"offset","time","line"}`, `offset` being the byte at which the next line begins, ' +
      '`{"event":"alive"}` where there is nothing to say for long, and at last `{"event":"end","id","state",…}`. With ' +
      '`Accept: text/event-stream` server-sent events as of the log of a run.',
    params: Id,
    querystring: LogQuery,
    headers: LiveHeaders,
    response: {
      200: eventStream('The lines; the end where the build has ended.', {
        description: '',
        content: { [ndjsonType]: Type.String() },
      }),
      204: nothing('The caller has read `end`.'),
    },
    errors: [403, 404, 429],
    example: buildExamples.log,
  },
} as const satisfies Record<string, RouteDoc>;

/** Builds as a resource: each caller sees its own. */
export function buildRoutes(app: FastifyInstance, context: HttpContext, streams: EventStreams): void {
  const common = { access: 'account', wire: 'sluice' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/builds',
    schema: docs.list,
    handler: async (request) => {
      const { limit = 50, after, state } = request.query as Static<typeof ListQuery>;
      const { tickets, next } = await deskOf(context).list(accountOf(request), {
        limit,
        after,
        state: state === undefined ? undefined : readBuildState(state),
      });
      return {
        builds: tickets.map((ticket) => buildOnWire(ticket)),
        ...(next === undefined ? {} : { next }),
      };
    },
  });
  // No id is this word: they are UUIDs or hashes.
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/builds/usage',
    schema: docs.usage,
    handler: async (request) => deskOf(context).usage(accountOf(request)),
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/builds/:id',
    schema: docs.read,
    handler: async (request) => buildOnWire(await ticketOf(request, context)),
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    url: '/system/builds/:id',
    schema: docs.cancel,
    handler: async (request) => {
      const { id } = await ticketOf(request, context);
      const ticket = await deskOf(context).cancel(accountOf(request), id);
      if (ticket === undefined) throw noBuild(id);
      return buildOnWire(ticket);
    },
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/builds/:id/logs',
    schema: docs.log,
    handler: async (request, reply) => sendLog(request, reply, context, streams),
  });
}

async function sendLog(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  streams: EventStreams,
): Promise<FastifyReply> {
  const ticket = await ticketOf(request, context);
  const { offset: first = 0, timestamps = false, ...query } = request.query as Static<typeof LogQuery>;
  const offset = logPlaceOf(request, first);
  if (offset === 'end') return sendStatus(reply, 204);
  const form = acceptsEvents(request) ? 'events' : 'ndjson';
  const { follow = form === 'events' } = query;
  const deps = { caller: accountOf(request), desk: deskOf(context), clock: context.clock };
  return streams.send(
    request,
    reply,
    (following) => followBuildLog(ticket, { offset, follow, form, timestamps }, deps, following),
    form === 'events' ? undefined : ndjsonType,
  );
}

/** The caller's own; another's is not found. */
async function ticketOf(request: FastifyRequest, context: HttpContext): Promise<BuildTicket> {
  const { id } = request.params as Static<typeof Id>;
  const ticket = isTicketId(id) ? await deskOf(context).get(accountOf(request), id) : undefined;
  if (ticket === undefined) throw noBuild(id);
  return ticket;
}

function noBuild(id: string): AppError {
  return new AppError('not_found', `There is no build "${id}" of yours.`);
}
