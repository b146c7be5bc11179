import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { principalOf } from '../access.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { headerOf } from '../replies.ts';
import { addRoute } from '../route.ts';

const Name = Type.Object({ name: Type.String() });

/** `POST /job/{service}` (OSCAR §4.2): the hot path; it reads no store before it claims. */
export function jobRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: '/job/:name',
    access: 'job',
    wire: 'oscar',
    schema: { summary: 'Accepts a run. The body is the event, any bytes.', params: Name },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      if (principal.kind !== 'service') throw new Error('a job was let through without a service');
      const id = await context.submit({
        service: { name: principal.service, uid: principal.uid },
        body: bodyOf(request),
        delegatedId: headerOf(request, 'x-delegated-job-id'),
        idempotencyKey: headerOf(request, 'idempotency-key'),
        traceparent: headerOf(request, 'traceparent'),
      });
      return reply.code(201).header('location', `/system/runs/${id}`).header('x-run-id', id).send();
    },
  });
}
