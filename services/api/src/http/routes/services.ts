import { AppError, isAppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { startBackfill } from '../../app/backfill.ts';
import { createService } from '../../app/create-service.ts';
import { deleteService } from '../../app/delete-service.ts';
import { listServices, readService, type ReadOptions } from '../../app/read-services.ts';
import { updateService } from '../../app/update-service.ts';
import { decodeGoJson } from '../../domain/go-json-decode.ts';
import { ServiceInput, ServiceOutput } from '../../domain/service-wire.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendJsonText, sendPieces, sendStatus, sendText } from '../replies.ts';
import { serviceExamples } from '../examples/services.ts';
import { goBody, json, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Name = Type.Object({ name: Type.String() });
const ReadQuery = Type.Object({
  include: Type.Optional(Type.String({ description: 'comma list; `deployment` adds that part' })),
});
const DeleteQuery = Type.Object({ keep_buckets: Type.Optional(Type.Boolean()) });
const BackfillInput = Type.Object({ prefix: Type.String(), again: Type.Boolean() });
const BackfillOutput = Type.Object({ backfill_id: Type.String() });

const warnings = {
  'X-Sluice-Warning': Type.String({ description: 'one for each thing that this installation does not do' }),
};
const serviceBody = goBody(ServiceInput, ['name', 'image', 'script']);
const docs = {
  create: {
    summary: 'Creates a service.',
    tag: 'services',
    requestBody: serviceBody,
    response: { 201: nothing('Created, with the buckets of its paths.', warnings) },
    errors: [409],
    example: serviceExamples.create,
  },
  update: {
    summary: 'Updates the service that the body names.',
    tag: 'services',
    requestBody: serviceBody,
    response: { 204: nothing('Updated. Runs under way go on as they began.', warnings) },
    errors: [404, 409],
    example: serviceExamples.update,
  },
  list: {
    summary: 'All services by name.',
    tag: 'services',
    querystring: ReadQuery,
    response: { 200: json(Type.Array(ServiceOutput), 'The services.') },
    example: serviceExamples.list,
  },
  read: {
    summary: 'One service.',
    tag: 'services',
    params: Name,
    querystring: ReadQuery,
    response: { 200: json(ServiceOutput, 'The service, with its token; secrets are hidden.') },
    errors: [404],
    example: serviceExamples.read,
  },
  remove: {
    summary: 'Deletes a service, and the buckets that it made unless `keep_buckets`.',
    tag: 'services',
    params: Name,
    querystring: DeleteQuery,
    response: { 204: nothing('Deleted; its runs are cancelled.') },
    errors: [404],
    example: serviceExamples.remove,
  },
  backfill: {
    summary: 'Runs what lies in the input folders already.',
    tag: 'services',
    params: Name,
    requestBody: goBody(BackfillInput, [], true),
    response: { 202: json(BackfillOutput, 'Begun.') },
    errors: [404],
    example: serviceExamples.backfill,
  },
} as const satisfies Record<string, RouteDoc>;

/** Kubernetes' rule for a label value, which OSCAR asks of the name in a path (OSCAR §1.4). */
const labelValue = /^[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;

/** Whether a path may name a service so. */
export function isServiceName(name: string): boolean {
  return labelValue.test(name);
}

/** Services: OSCAR §1.2 to §1.5, and the backfill. */
export function serviceRoutes(app: FastifyInstance, context: HttpContext): void {
  writeRoutes(app, context);
  readRoutes(app, context);
  addRoute(app, {
    method: 'DELETE',
    url: '/system/services/:name',
    access: admin('services.write'),
    wire: 'oscar',
    schema: docs.remove,
    handler: async (request, reply) => {
      const { name } = request.params as Static<typeof Name>;
      const { keep_buckets: keepBuckets = false } = request.query as Static<typeof DeleteQuery>;
      return sendStatus(reply, (await deleteService(name, { keepBuckets }, context)) ? 204 : 404);
    },
  });
  addRoute(app, {
    method: 'POST',
    url: '/system/services/:name/backfill',
    access: admin('services.backfill'),
    wire: 'sluice',
    schema: docs.backfill,
    handler: async (request, reply) => {
      const { name } = request.params as Static<typeof Name>;
      const input = backfillInput(bodyOf(request));
      const id = await startBackfill(name, { ...input, traceparent: request.span.traceparent }, context);
      return reply.code(202).send({ backfill_id: id });
    },
  });
}

function backfillInput(body: Uint8Array): Static<typeof BackfillInput> {
  if (body.byteLength === 0) return { prefix: '', again: false };
  try {
    return decodeGoJson(BackfillInput, body, { root: 'Backfill' });
  } catch (error) {
    if (!isAppError(error, 'invalid_input') || error.field !== undefined) throw error;
    // Go's decoder says nothing of what is no object at all; Sluice's routes name a field.
    throw new AppError('invalid_input', error.message, { field: 'body', cause: error });
  }
}

function writeRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: '/system/services',
    access: admin('services.write'),
    wire: 'oscar',
    schema: docs.create,
    handler: async (request, reply) => {
      const warnings = await createService(bodyOf(request), context.services);
      return sendStatus(withWarnings(reply, warnings), 201);
    },
  });
  addRoute(app, {
    method: 'PUT',
    url: '/system/services',
    access: admin('services.write'),
    wire: 'oscar',
    schema: docs.update,
    handler: async (request, reply) => {
      const warnings = await updateService(bodyOf(request), context.services);
      return warnings === undefined ? sendStatus(reply, 404) : sendStatus(withWarnings(reply, warnings), 204);
    },
  });
}

function readRoutes(app: FastifyInstance, context: HttpContext): void {
  const source = { ...context, minio: context.config.minio };
  addRoute(app, {
    method: 'GET',
    url: '/system/services',
    access: admin('services.read'),
    wire: 'oscar',
    schema: docs.list,
    handler: (request, reply) => sendPieces(reply, 'json', listServices(readOptions(request), source)),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/services/:name',
    access: admin('services.read'),
    wire: 'oscar',
    schema: docs.read,
    handler: async (request, reply) => {
      const { name } = request.params as Static<typeof Name>;
      if (!isServiceName(name)) return sendText(reply.code(400), 'invalid serviceName');
      const json = await readService(name, readOptions(request), source);
      return json === undefined ? sendStatus(reply, 404) : sendJsonText(reply, json);
    },
  });
}

function readOptions(request: FastifyRequest): ReadOptions {
  const { include = '' } = request.query as Static<typeof ReadQuery>;
  const parts = include.split(',').map((part) => part.trim().toLowerCase());
  return { deployment: parts.includes('deployment') };
}

/** One header a warning, in what a header can carry. */
function withWarnings(reply: FastifyReply, warnings: readonly string[]): FastifyReply {
  const texts = warnings.slice(0, 20).map((text) => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 500));
  return texts.length === 0 ? reply : reply.header('x-sluice-warning', texts);
}
