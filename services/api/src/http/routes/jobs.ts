import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { principalOf } from '../access.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { headerOf } from '../replies.ts';
import { jobExamples } from '../examples/services.ts';
import { anyBody, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';

const Name = Type.Object({ name: Type.String() });
const JobHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(
    Type.String({ maxLength: 255, description: 'a repeated call answers with the first run' }),
  ),
  'X-Delegated-Job-ID': Type.Optional(
    Type.String({ description: 'names the run: a DNS label of at most 63 characters' }),
  ),
  traceparent: Type.Optional(Type.String({ description: 'W3C Trace Context, carried on' })),
});

const submit = {
  summary: 'Accepts a run. The body is the event, any bytes.',
  tag: 'calls',
  params: Name,
  headers: JobHeaders,
  requestBody: anyBody,
  response: {
    201: nothing('Accepted. A storage event with several records is one run a record: the first is named.', {
      Location: Type.String({ description: 'of the run' }),
      'X-Run-Id': Type.String(),
    }),
  },
  errors: [409, 422],
  example: jobExamples.submit,
} as const satisfies RouteDoc;

/** `POST /job/{service}` (OSCAR §4.2): the hot path; it reads no store before it claims. */
export function jobRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: '/job/:name',
    access: 'service-token',
    wire: 'oscar',
    schema: submit,
    handler: async (request, reply) => {
      const principal = principalOf(request);
      if (principal.kind !== 'service') throw new Error('a job was let through without a service');
      const id = await context.submit({
        service: { name: principal.service, uid: principal.uid },
        body: bodyOf(request),
        delegatedId: headerOf(request, 'x-delegated-job-id'),
        idempotencyKey: headerOf(request, 'idempotency-key'),
        traceparent: request.span.traceparent,
      });
      return reply.code(201).header('location', `/system/runs/${id}`).header('x-run-id', id).send();
    },
  });
}
