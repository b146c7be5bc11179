import type { DeadLetter } from '@sluice/shared/bus';
import { AppError } from '@sluice/shared/errors';
import { traceIdOf } from '@sluice/shared/telemetry';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { dropAbsent, wireTime } from '../../domain/run-wire.ts';
import type { HttpContext } from '../context.ts';
import { sendStatus } from '../replies.ts';
import { deadLetterExamples } from '../examples/system.ts';
import { json, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Id = Type.Object({ id: Type.String() });
const ListQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  cursor: Type.Optional(Type.String()),
});
const WireDeadLetter = Type.Object(
  {
    id: Type.String(),
    message_id: Type.String(),
    name: Type.String(),
    key: Type.Optional(Type.String()),
    consumer: Type.String(),
    reason: Type.String(),
    attempts: Type.Integer(),
    dead_at: Type.String(),
    trace_id: Type.Optional(Type.String()),
    payload: Type.Optional(Type.Unknown({ description: 'left out where it is over 16 KiB' })),
  },
  { title: 'DeadLetter' },
);
const DeadLetterList = Type.Object({
  dead_letters: Type.Array(WireDeadLetter),
  next: Type.Optional(Type.String()),
});

const docs = {
  list: {
    summary: 'Dead letters, newest first.',
    tag: 'dead-letters',
    querystring: ListQuery,
    response: { 200: json(DeadLetterList, 'A page; `next` is the cursor of the next one.') },
    example: deadLetterExamples.list,
  },
  redrive: {
    summary: 'Sends the message again under a new id.',
    tag: 'dead-letters',
    params: Id,
    response: { 202: json(Type.Object({ message_id: Type.String() }), 'Sent.') },
    errors: [404],
    example: deadLetterExamples.redrive,
  },
  remove: {
    summary: 'Removes a dead letter.',
    tag: 'dead-letters',
    params: Id,
    response: { 204: nothing('Removed.') },
    errors: [404],
    example: deadLetterExamples.remove,
  },
} as const satisfies Record<string, RouteDoc>;

/** Larger payloads are left out of a list of up to 1000. */
const maxPayload = 16_384;

/** Messages that could not be worked off. */
export function deadLetterRoutes(app: FastifyInstance, context: HttpContext): void {
  const { deadLetters } = context.bus;
  const common = { access: admin('dead-letters'), wire: 'sluice' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/dead-letters',
    schema: docs.list,
    handler: async (request) => {
      const { limit = 50, cursor } = request.query as Static<typeof ListQuery>;
      const page = await deadLetters.list({ limit, ...(cursor === undefined ? {} : { cursor }) });
      return {
        dead_letters: page.items.map((letter) => onWire(letter)),
        ...(page.next === undefined ? {} : { next: page.next }),
      };
    },
  });
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/dead-letters/:id/redrive',
    schema: docs.redrive,
    handler: async (request, reply) =>
      reply.code(202).send({ message_id: await deadLetters.redrive(idOf(request)) }),
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    url: '/system/dead-letters/:id',
    schema: docs.remove,
    handler: async (request, reply) => {
      const id = idOf(request);
      if ((await deadLetters.get(id)) === undefined)
        throw new AppError('not_found', `There is no dead letter "${id}".`);
      await deadLetters.remove(id);
      return sendStatus(reply, 204);
    },
  });
}

function idOf(request: FastifyRequest): string {
  return (request.params as Static<typeof Id>).id;
}

function onWire(letter: DeadLetter): Static<typeof WireDeadLetter> {
  const { traceparent, payload } = letter;
  const small = Buffer.byteLength(JSON.stringify(payload) ?? '') <= maxPayload;
  return dropAbsent({
    id: letter.id,
    message_id: letter.message_id,
    name: letter.name,
    key: letter.key,
    consumer: letter.consumer,
    reason: letter.reason,
    attempts: letter.attempts,
    dead_at: wireTime(letter.dead_at),
    trace_id: traceparent === undefined ? undefined : traceIdOf(traceparent),
    payload: small ? payload : undefined,
  });
}
