import { createHash, timingSafeEqual } from 'node:crypto';
import type { Bus } from '@sluice/shared/bus';
import type { Secret } from '@sluice/shared/config';
import { AppError, isAppError, type ErrorCode } from '@sluice/shared/errors';
import type { Component } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';

export interface WebhookDeps {
  readonly bus: Pick<Bus, 'publish' | 'check'>;
  /** What the S3 server sends as `Authorization: Bearer <token>` (MinIO: `auth_token`). */
  readonly token: Secret;
  /** @default 0.0.0.0 */
  readonly host?: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly log: Logger;
}

export interface Webhook extends Component {
  /** Port in use; undefined until it is started. */
  port(): number | undefined;
}

const maxBodyBytes = 1024 * 1024;
/** Requests in hand at the same time; each may hold a body. */
const maxInHand = 256;
const requestTimeoutMs = 10_000;
const maxConnections = 1024;
const retryAfterSeconds = 5;

/** Takes bucket notifications from S3 servers that cannot publish to the bus: 204 once the bus has them for good. */
export function createWebhook(deps: WebhookDeps): Webhook {
  const app = buildApp(deps);
  const current: { port?: number } = {};
  return {
    name: 'storage-webhook',
    start: async () => {
      await app.listen({ host: deps.host ?? '0.0.0.0', port: deps.port });
      const address = app.server.address();
      if (address !== null && typeof address !== 'string') current.port = address.port;
    },
    stop: async () => {
      delete current.port;
      await app.close();
    },
    check: async () => {
      if (current.port === undefined) throw new AppError('unavailable', 'The webhook is not listening.');
      await deps.bus.check();
    },
    port: () => current.port,
  };
}

function buildApp(deps: WebhookDeps): FastifyInstance {
  const app = Fastify({
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    // Looked after by the second, with a bound on connections: what comes a byte at a time holds little, and not for long.
    http: { headersTimeout: requestTimeoutMs, connectionsCheckingInterval: 1000 },
    forceCloseConnections: 'idle',
    logger: false,
  });
  app.server.maxConnections = maxConnections;
  const inHand = { count: 0 };
  // Servers differ in the type they send, and it is JSON or refused in any case.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
  app.addHook('onRequest', async (request) => {
    if (request.method === 'POST') checkToken(deps.token, request.headers.authorization);
  });
  // MinIO and load balancers look whether somebody is there.
  app.get('/notify', async (_request, reply) =>
    reply.type('text/plain').send('Send bucket notifications here by POST.\n'),
  );
  app.post('/notify', async (request, reply) => {
    if (inHand.count >= maxInHand) {
      throw new AppError('unavailable', 'Too many notifications are being taken at this moment.', {
        retryAfterSeconds: 1,
      });
    }
    inHand.count += 1;
    try {
      await publish(deps.bus, request);
    } finally {
      inHand.count -= 1;
    }
    return reply.code(204).send();
  });
  app.setNotFoundHandler(async (request, reply) =>
    answer(
      reply,
      404,
      `Nothing is here: ${request.method} ${request.url.slice(0, 200)}. Notifications go to POST /notify.`,
    ),
  );
  app.setErrorHandler<FastifyError>(async (error, _request, reply) => fail(deps.log, error, reply));
  return app;
}

/** Hashes first, so that neither length nor content of the token shows in the time it takes. */
function checkToken(token: Secret, header: string | undefined): void {
  const given = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (given === undefined || !timingSafeEqual(sha256(given), sha256(token.reveal()))) {
    throw new AppError(
      'unauthenticated',
      'Send "Authorization: Bearer <token>" with the token of SLUICE_WEBHOOK_TOKEN (MinIO: auth_token of the webhook target).',
    );
  }
}

function sha256(text: string | Uint8Array): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The id is the body's, so that a notification that is sent again, here or to another replica, is one message. */
async function publish(bus: Pick<Bus, 'publish'>, request: FastifyRequest): Promise<void> {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const payload = notificationIn(body);
  await bus.publish([{ id: `notify-${sha256(body).toString('hex')}`, name: 'storage.notify', payload }]);
}

/** Looks at no more than the form: what is wrong inside goes to the dead letters, as from the bus. */
function notificationIn(body: Buffer): unknown {
  let payload: unknown;
  try {
    payload = JSON.parse(body.toString());
  } catch (error) {
    throw invalid('The body is not JSON.', error);
  }
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload))
    throw invalid('The body must be a JSON object.');
  if ('TopicArn' in payload || 'detail-type' in payload) {
    throw invalid(
      'Messages of SNS and EventBridge are not taken: send the bucket notification itself ({"Records": […]}; for SNS, raw message delivery).',
    );
  }
  const isTest = 'Event' in payload && payload.Event === 's3:TestEvent';
  if (!isTest && !('Records' in payload && Array.isArray(payload.Records))) {
    throw invalid('The body is not a bucket notification: it has no list "Records".');
  }
  return payload;
}

function invalid(message: string, cause?: unknown): AppError {
  return new AppError('invalid_input', message, { field: 'body', cause });
}

const statuses: Partial<Record<ErrorCode, number>> = {
  unauthenticated: 401,
  invalid_input: 400,
  too_large: 413,
};

async function fail(log: Logger, error: FastifyError, reply: FastifyReply): Promise<FastifyReply> {
  if (!isAppError(error)) {
    const status = error.statusCode ?? 500;
    if (status === 413) return answer(reply, 413, `A notification has at most ${maxBodyBytes} bytes.`);
    if (status < 500) return answer(reply, status, error.message);
    log.error({ err: error }, 'a notification could not be taken');
    return answer(reply, 500, 'Internal error.');
  }
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer');
  if (error.retry === 'later') {
    log.warn({ err: error }, 'a notification is refused until later');
    reply.header('retry-after', String(error.retryAfterSeconds ?? retryAfterSeconds));
    return answer(reply, 503, error.message);
  }
  return answer(reply, statuses[error.code] ?? 500, error.message);
}

async function answer(reply: FastifyReply, status: number, message: string): Promise<FastifyReply> {
  return reply.code(status).type('text/plain; charset=utf-8').send(`${message}\n`);
}
