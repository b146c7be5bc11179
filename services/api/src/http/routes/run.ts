import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { RunnerResult } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Call } from '../../app/calls/calls.ts';
import { scriptHeaders } from '../../domain/call-request.ts';
import { principalOf } from '../access.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { callExample } from '../examples/services.ts';
import { sendText } from '../replies.ts';
import { anyBody, bytes, text, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';

const Name = Type.Object({ name: Type.String() });
const CallHeaders = Type.Object({
  traceparent: Type.Optional(Type.String({ description: 'W3C Trace Context, carried on' })),
});

const run = {
  summary: 'Calls the service and waits for its answer. The body is the input, any bytes.',
  tag: 'calls',
  description:
    'A call goes to a warm runner, or waits for one. A script that fails is a 500 with `exit status N` and what it printed, ' +
    'one that takes too long a 408. A call that a runner has begun is never tried again.',
  params: Name,
  headers: CallHeaders,
  requestBody: anyBody,
  response: {
    200: bytes('What the script made. The type is the request’s, or text where it had none.', {
      'X-Call-Id': Type.String(),
      'X-Duration-Seconds': Type.Number({ description: 'from the start of the call to its answer' }),
    }),
    408: text('The script, or the body, took too long.'),
    500: text(
      'The script failed: `exit status N` and what it printed; empty where it is a bug of the server.',
    ),
  },
  errors: [404, 429, 502],
  example: callExample,
} as const satisfies RouteDoc;

const textType = 'text/plain; charset=utf-8';

/** OSCAR §5.3; what it has no word for is a gateway's (RFC 9110 §15.6). */
const statuses: Readonly<Record<RunnerResult, number>> = {
  succeeded: 200,
  failed: 500,
  timed_out: 408,
  unavailable: 503,
  cancelled: 502,
};

const defaultRetryAfter = 5;

/** `POST /run/{service}` (OSCAR §5.2): the answer is the script's. */
export function callRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: '/run/:name',
    access: 'service-token',
    wire: 'oscar',
    schema: run,
    handler: async (request, reply) => {
      const principal = principalOf(request);
      if (principal.kind !== 'service') throw new Error('a call was let through without a service');
      // A caller may hear nothing for as long as the script runs; the call's own limits end it.
      request.raw.socket.setTimeout(0);
      const call = await context.calls.perform({
        service: { name: principal.service, uid: principal.uid },
        body: bodyOf(request),
        method: request.method,
        query: queryOf(request),
        headers: headersOf(request),
        traceparent: request.span.traceparent,
        signal: callerSignal(reply),
      });
      request.raw.socket.setTimeout(context.config.idleTimeoutMs);
      return answer(request, reply, call);
    },
  });
}

function answer(request: FastifyRequest, reply: FastifyReply, { reply: made, ...call }: Call): FastifyReply {
  void reply.headers({
    'x-call-id': call.callId,
    'x-duration-seconds': call.seconds.toFixed(6),
    // A script's answer is never run as a page of this server.
    'x-content-type-options': 'nosniff',
  });
  if (made.kind === 'lost') {
    return sendText(
      reply.code(502),
      'The runner was lost while it had the call: nobody knows how far the script came. It is not tried again.',
    );
  }
  if (made.kind === 'rejected') {
    return sendText(
      reply.code(made.tooLarge ? 413 : 502),
      `The runner did not take the call: ${made.message}`,
    );
  }
  const { result, body, length } = made;
  if (result === 'unavailable')
    void reply.header('retry-after', String(made.retryAfterSeconds ?? defaultRetryAfter));
  if (length !== undefined) void reply.header('content-length', String(length));
  const asked = request.contentType ?? '';
  const type = result === 'succeeded' && asked !== '' ? asked : textType;
  return reply.code(statuses[result]).header('content-type', type).send(body);
}

/** Aborted when the caller has gone before its answer was complete. */
function callerSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (reply.raw.writableFinished) return;
    gone.abort(new AppError('cancelled', 'The client ended the request early.'));
  });
  return gone.signal;
}

function queryOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '';
  const mark = url.indexOf('?');
  return mark < 0 ? '' : url.slice(mark + 1);
}

function headersOf(request: FastifyRequest): Record<string, string> {
  const { headers, contentType } = request;
  return scriptHeaders(contentType === undefined ? headers : { ...headers, 'content-type': contentType });
}
