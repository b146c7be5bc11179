import { STATUS_CODES } from 'node:http';
import { AppError, type ErrorCode } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import type { FastifyReply } from 'fastify';

/** The only place where failures become HTTP. */
const statuses = {
  invalid_input: 400,
  unsupported: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  timed_out: 503,
  conflict: 409,
  precondition_failed: 409,
  too_large: 413,
  unprocessable: 422,
  limit_reached: 503,
  cancelled: 409,
  unavailable: 503,
  storage_full: 503,
} as const satisfies Record<ErrorCode, number>;

const defaultRetryAfter = 2;

export interface Problems {
  /** @param route its pattern, for the log: bounded, unlike the URL */
  send(error: unknown, reply: FastifyReply, route: string): void;
}

/** Answers failures in `application/problem+json` (RFC 9457); our own bugs say nothing and are logged. */
export function createProblems(log: Logger): Problems {
  return {
    send: (error, reply, route) => {
      const failure = failureOf(error);
      const status = failure === undefined ? 500 : failure.status;
      if (failure === undefined) log.error({ err: error, route }, 'request of a pod failed');
      else if (status >= 500) log.warn({ reason: failure.detail, route }, 'request of a pod not served');
      if (status === 503) void reply.header('retry-after', String(failure?.retryAfter ?? defaultRetryAfter));
      if (status === 401) void reply.header('www-authenticate', 'Bearer');
      const body = {
        type: 'about:blank',
        title: STATUS_CODES[status] ?? '',
        status,
        code: failure?.code ?? 'internal',
        detail: failure?.detail ?? 'The scheduler failed; its log says why.',
        ...(failure?.field === undefined ? {} : { field: failure.field }),
      };
      // As bytes: Fastify would add a charset, which this type does not have.
      void reply
        .code(status)
        .header('content-type', 'application/problem+json')
        .send(Buffer.from(JSON.stringify(body)));
    },
  };
}

interface Failure {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly field?: string | undefined;
  readonly retryAfter?: number | undefined;
}

function failureOf(error: unknown): Failure | undefined {
  if (error instanceof AppError) {
    const { code, message: detail, field, retryAfterSeconds: retryAfter } = error;
    return { status: statuses[code], code, detail, field, retryAfter };
  }
  // What Fastify itself refuses: a body that is too large, a length that lies.
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number')
    return undefined;
  const { statusCode: status } = error;
  if (status < 400 || status >= 500) return undefined;
  return { status, code: status === 413 ? 'too_large' : 'invalid_input', detail: error.message };
}
