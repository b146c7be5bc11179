import type { BuildCaller, BuildTicket } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { readBuildStart, readCleanup, readEnsure } from '../../domain/build-request.ts';
import {
  buildOnWire,
  ensuredOf,
  isContentId,
  isTicketId,
  jobNameOf,
  statusOf,
  WireBuild,
  WireEnsured,
  WireStatus,
} from '../../domain/build-wire.ts';
import { accountOf, deskOf } from '../account-access.ts';
import type { HttpContext } from '../context.ts';
import { Done, envelopeOf, jsonOf, Ko, sendDone, sendKo } from '../envelope.ts';
import { ensuredExamples, openServerlessExamples } from '../examples/builds.ts';
import { sendJsonText } from '../replies.ts';
import { json, jsonType, type RequestBody, type RouteDoc } from '../route-doc.ts';
import { addRoute, refuseMethods, type Route } from '../route.ts';

const Id = Type.Object({ id: Type.String() });
const StatusQuery = Type.Object({ id: Type.Optional(Type.String()) });
/** Flask looks at it first: anything else is 415. */
const JsonHeaders = Type.Object({
  'Content-Type': Type.String({ description: '`application/json`' }),
});
const Started = Type.Object({ id: Type.String(), job_name: Type.String() });
const Capabilities = Type.Object({
  builders: Type.Array(Type.Object({ id: Type.String(), kind: Type.String() })),
});
const StartBody = Type.Object(
  {
    source: Type.String({ description: 'the base image' }),
    target: Type.String({ description: '`<login>:<tag>`; without a tag it is `latest`' }),
    kind: Type.String({ description: 'python, nodejs, go, java, php, ruby or dotnet' }),
    file: Type.Optional(
      Type.String({
        description:
          'base64 of the requirements file; without it the image is the base image under another name',
      }),
    ),
    force: Type.Optional(Type.Boolean({ description: 'builds again, whatever is there' })),
    platforms: Type.Optional(Type.Array(Type.String(), { description: '`linux/amd64`' })),
    sbom: Type.Optional(Type.Boolean()),
    provenance: Type.Optional(Type.Boolean()),
  },
  { title: 'BuildStart' },
);
const CleanupBody = Type.Object({
  max_age_hours: Type.Optional(
    Type.Union([Type.Number(), Type.String()], { description: 'default 24; 0 removes all that have ended' }),
  ),
});
const EnsureBody = Type.Object({
  builder: Type.String({ description: 'one of `capabilities`' }),
  file: Type.String({ description: 'base64 of the requirements file' }),
  retry: Type.Optional(Type.Boolean({ description: 'a failed one is tried again; default true' })),
});

const jsonBody = (schema: RequestBody['schema']): RequestBody => ({ type: jsonType, schema, required: true });
const unprocessable = json(Ko, 'The image cannot be built like that.');
const ensured = envelopeOf(WireEnsured);
const ensureAnswers = {
  200: { ...json(ensured, 'The image is there.'), example: ensuredExamples[200] },
  202: { ...json(ensured, 'It is waiting or being built.'), example: ensuredExamples[202] },
  409: json(ensured, 'It failed.'),
};

const docs = {
  start: {
    summary: 'Asks for an image to be built.',
    tag: 'openserverless',
    description: 'It is built after the answer: `status`, or the log, tells how far it is.',
    headers: JsonHeaders,
    requestBody: jsonBody(StartBody),
    response: { 200: json(envelopeOf(Started), 'It is waiting, or there already.'), 422: unprocessable },
    errors: [403, 404, 415, 429],
    example: openServerlessExamples.start,
  },
  cleanup: {
    summary: "Forgets the caller's builds that have ended some time ago; images stay.",
    tag: 'openserverless',
    headers: JsonHeaders,
    requestBody: jsonBody(CleanupBody),
    response: { 200: json(Done, 'How many they were.') },
    errors: [403, 415],
    example: openServerlessExamples.cleanup,
  },
  status: {
    summary: 'The state of a build, in the words of a Kubernetes Job.',
    tag: 'openserverless',
    querystring: StatusQuery,
    response: { 200: json(envelopeOf(WireStatus), 'The state.') },
    errors: [403, 404],
    example: openServerlessExamples.status,
  },
  ensure: {
    summary: 'Has an image built from what it is made of, unless it is there.',
    tag: 'openserverless',
    headers: JsonHeaders,
    requestBody: jsonBody(EnsureBody),
    response: { ...ensureAnswers, 422: unprocessable },
    errors: [403, 415, 429],
    example: openServerlessExamples.ensure,
  },
  capabilities: {
    summary: 'Base images that `ensure` knows.',
    tag: 'openserverless',
    response: { 200: json(envelopeOf(Capabilities), 'The builders.') },
    errors: [403],
    example: openServerlessExamples.capabilities,
  },
  read: {
    summary: 'What became of an `ensure`, or the build of a UUID.',
    tag: 'openserverless',
    params: Id,
    response: { ...ensureAnswers, 200: json(Type.Union([WireBuild, ensured]), 'As `ensure`, or the build.') },
    errors: [403, 404],
    example: openServerlessExamples.read,
  },
} as const satisfies Record<string, RouteDoc>;

const root = '/system/api/v1/build';

/** The image builder in OpenServerless' words: paths, messages and the order of checks are the original's. */
export function openServerlessRoutes(app: FastifyInstance, context: HttpContext): void {
  const add = (route: Pick<Route, 'method' | 'url' | 'schema' | 'handler'>): void => {
    const limit = route.method === 'POST' ? { bodyBytes: context.config.buildBodyLimit } : {};
    addRoute(app, { ...route, ...limit, access: 'account', wire: 'openserverless' });
    refuseMethods(app, { url: route.url, allowed: route.method, wire: 'openserverless' }, (reply) =>
      sendKo(reply, 405, 'The method is not allowed for the requested URL.'),
    );
  };
  const post = { method: 'POST' } as const;
  const get = { method: 'GET' } as const;
  add({ ...post, url: `${root}/start`, schema: docs.start, handler: startHandler(context) });
  add({ ...post, url: `${root}/cleanup`, schema: docs.cleanup, handler: cleanupHandler(context) });
  add({ ...get, url: `${root}/status`, schema: docs.status, handler: statusHandler(context) });
  add({ ...post, url: `${root}/ensure`, schema: docs.ensure, handler: ensureHandler(context) });
  add({
    ...get,
    url: `${root}/capabilities`,
    schema: docs.capabilities,
    handler: async (_request, reply) => {
      const builders = deskOf(context)
        .builders()
        .map(({ id, kind }) => ({ id, kind }));
      return sendDone(reply, 200, 'Builder capabilities retrieved', { builders });
    },
  });
  add({ ...get, url: `${root}/:id`, schema: docs.read, handler: readHandler(context) });
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

function startHandler(context: HttpContext): Handler {
  return async (request, reply) => {
    const caller = tracedCaller(request);
    const ticket = await deskOf(context).start(caller, readBuildStart(jsonOf(request), caller.login));
    nameInTrace(request, ticket);
    const name = jobNameOf(ticket);
    return sendDone(reply, 200, `Build process initiated successfully. Job: ${name}`, {
      id: ticket.id,
      job_name: name,
    });
  };
}

function tracedCaller(request: FastifyRequest): BuildCaller {
  return { ...accountOf(request), traceparent: request.span.traceparent };
}

/** A request that joined a build has another trace than the one that made it: this leads from one to the other. */
function nameInTrace({ span }: FastifyRequest, { build, reused }: BuildTicket): void {
  if (build !== '') span.setAttribute('sluice.build.id', build);
  span.setAttribute('sluice.build.reused', reused);
}

function cleanupHandler(context: HttpContext): Handler {
  return async (request, reply) => {
    const removed = await deskOf(context).cleanup(accountOf(request), readCleanup(jsonOf(request)));
    return sendDone(reply, 200, `Cleaned up ${removed} jobs successfully.`);
  };
}

function statusHandler(context: HttpContext): Handler {
  return async (request, reply) => {
    const { id = '' } = request.query as Static<typeof StatusQuery>;
    if (id === '') throw new AppError('invalid_input', 'No id provided for build status.', { field: 'id' });
    const ticket = await ticketOf(context, accountOf(request), id);
    if (ticket === undefined) throw new AppError('not_found', 'Build job not found');
    return sendDone(reply, 200, 'Build status retrieved successfully.', statusOf(ticket));
  };
}

function ensureHandler(context: HttpContext): Handler {
  return async (request, reply) => {
    const desk = deskOf(context);
    // What is named by its content lies in the installation's registry: the original leaves the caller's `REGISTRY_*` out here, too.
    const caller = { ...tracedCaller(request), env: {} };
    const ticket = await desk.ensure(caller, readEnsure(jsonOf(request), desk.builders()));
    nameInTrace(request, ticket);
    return sendEnsured(reply, ticket);
  };
}

function readHandler(context: HttpContext): Handler {
  return async (request, reply) => {
    const { id } = request.params as Static<typeof Id>;
    if (!isTicketId(id)) throw new AppError('invalid_input', 'Invalid build id', { field: 'id' });
    const ticket = await deskOf(context).get(accountOf(request), id);
    if (ticket === undefined) throw new AppError('not_found', 'Build not found');
    if (isContentId(id)) return sendEnsured(reply, ticket);
    return sendJsonText(reply, JSON.stringify(buildOnWire(ticket)));
  };
}

function sendEnsured(reply: FastifyReply, ticket: BuildTicket): FastifyReply {
  const { status, data } = ensuredOf(ticket);
  return sendDone(reply, status, data.message, data);
}

/** What can be no id is not there. */
async function ticketOf(
  context: HttpContext,
  caller: BuildCaller,
  id: string,
): Promise<BuildTicket | undefined> {
  return isTicketId(id) ? deskOf(context).get(caller, id) : undefined;
}
