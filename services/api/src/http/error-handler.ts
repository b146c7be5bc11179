import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { AppError, type ErrorCode } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { sendKo } from './envelope.ts';
import type { Wire } from './types.ts';

/** The only place where failures become HTTP. */
const statuses = {
  invalid_input: 400,
  unsupported: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  timed_out: 408,
  conflict: 409,
  precondition_failed: 412,
  too_large: 413,
  unprocessable: 422,
  limit_reached: 429,
  cancelled: 499,
  unavailable: 503,
  storage_full: 507,
} as const satisfies Record<ErrorCode, number>;

const defaultRetryAfter = 5;

interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly field?: string;
  readonly retryAfter?: number;
}

/** `wire` where no route was found; otherwise it is the route's. */
export type ErrorHandler = (
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  wire?: Wire,
) => void;

/** OSCAR's routes answer in text, Sluice's in `application/problem+json` (RFC 9457), OpenServerless' in its envelope; our own bugs say nothing and are logged. */
export function createErrorHandler(log: Logger): ErrorHandler {
  return (error, request, reply, wire = request.routeOptions.config.wire) => {
    const problem = hasLeft(request) ? left : problemOf(error);
    if (problem === undefined) {
      log.error({ err: error, request_id: request.id, route: routeOf(request) }, 'request failed');
      void reply.code(500).header('x-request-id', request.id).send();
      return;
    }
    if (problem.status >= 500) {
      // Nothing of ours is broken: the sentence is enough, but where there is a cause that an operator may need.
      const why =
        error instanceof AppError && error.cause === undefined ? { reason: error.message } : { err: error };
      log.warn({ ...why, request_id: request.id, route: routeOf(request) }, 'request not served');
      void reply.header('x-request-id', request.id);
    }
    if (problem.retryAfter !== undefined) void reply.header('retry-after', String(problem.retryAfter));
    void reply.code(problem.status);
    if (request.method === 'HEAD') void reply.send();
    else if (wire === 'sluice') sendProblem(reply, problem);
    else if (wire === 'openserverless') sendKo(reply, problem.status, problem.detail);
    else void reply.header('content-type', 'text/plain; charset=utf-8').send(problem.detail);
  };
}

function sendProblem(reply: FastifyReply, { status, code, detail, field }: Problem): void {
  const title = STATUS_CODES[status] ?? 'Client Closed Request';
  const body = {
    type: 'about:blank',
    title,
    status,
    code,
    detail,
    ...(field === undefined ? {} : { field }),
  };
  // As bytes: Fastify would add a charset, which this type does not have.
  void reply.header('content-type', 'application/problem+json').send(Buffer.from(JSON.stringify(body)));
}

/** The client broke off in the middle of its body: whatever that made fail is not our failure. */
function hasLeft(request: FastifyRequest): boolean {
  return request.raw.destroyed && !request.raw.complete;
}

const left: Problem = { status: 499, code: 'cancelled', detail: 'The client ended the request early.' };

/** Undefined for what is nobody's fault but ours. */
function problemOf(error: unknown): Problem | undefined {
  if (error instanceof AppError) {
    return {
      status: statuses[error.code],
      code: error.code,
      detail: error.message,
      ...(error.field === undefined ? {} : { field: error.field }),
      ...(error.retry === 'later' ? { retryAfter: error.retryAfterSeconds ?? defaultRetryAfter } : {}),
    };
  }
  // What Fastify itself refuses: a content length that lies.
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number')
    return undefined;
  const { statusCode } = error;
  if (statusCode < 400 || statusCode >= 500) return undefined;
  return { status: statusCode, code: 'invalid_input', detail: error.message };
}

/** Answers what is not HTTP, and closes the connection: nobody knows where the next request would begin. */
export function refuseBytes(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = clientErrors.get(error.code ?? '') ?? 400;
  const text = STATUS_CODES[status] ?? '';
  const head = `HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n`;
  socket.end(`${head}Content-Length: ${text.length}\r\n\r\n${text}`);
}

const clientErrors = new Map([
  ['HPE_HEADER_OVERFLOW', 431],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 413],
  ['ERR_HTTP_REQUEST_TIMEOUT', 408],
]);

/** The route's pattern: bounded, unlike the URL. */
export function routeOf(request: FastifyRequest): string {
  return request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
}
