import type { Server } from 'node:http';
import { AppError, messageOf, systemCode } from '@sluice/shared/errors';
import type { Secret } from '@sluice/shared/config';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger, Registry } from '@sluice/shared/telemetry';
import Fastify, { type FastifyHttpOptions, type FastifyInstance } from 'fastify';
import type { AttemptDesk } from '../app/attempt-desk.ts';
import { attemptRoutes } from './attempt-routes.ts';
import { createProblems } from './problems.ts';
import { observeRequests } from './request-metrics.ts';

export interface AttemptsServerDeps {
  readonly desk: AttemptDesk;
  /** What tokens of pods are made with (`podToken`), at least 32 bytes. */
  readonly tokenKey: Secret;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Milliseconds that an answer may take: past it the pod is asked to come again. @default 5000 */
  readonly answerMs?: number;
}

export interface AttemptsServer {
  start(): Promise<void>;
  /** Takes nothing new and answers what is in hand. */
  stop(): Promise<void>;
  port(): number;
}

/** Bodies and headers are small and come at once. */
const requestMs = 10_000;
const keepAliveMs = 75_000;
const maxConnections = 10_000;
const maxParamLength = 256;

/** The scheduler's door for pods (`contracts/pod.ts`). */
export function createAttemptsServer(deps: AttemptsServerDeps): AttemptsServer {
  const app = createApp(deps);
  return {
    start: async () => {
      try {
        await app.listen({ host: deps.host, port: deps.port });
      } catch (error) {
        throw listenError(error, deps.port);
      }
    },
    stop: () => app.close(),
    port: () => {
      const address = app.server.address();
      return typeof address === 'object' && address !== null ? address.port : deps.port;
    },
  };
}

function createApp(deps: AttemptsServerDeps): FastifyInstance {
  const options: FastifyHttpOptions<Server> = {
    logger: false,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    requestTimeout: requestMs,
    connectionTimeout: keepAliveMs,
    keepAliveTimeout: keepAliveMs,
    // Looked after by the second: what comes a byte at a time is to end soon after its time is over.
    http: { headersTimeout: requestMs, connectionsCheckingInterval: 1000 },
    routerOptions: { maxParamLength },
  };
  const app = Fastify(options);
  app.server.maxConnections = maxConnections;
  const problems = createProblems(deps.log);
  observeRequests(app, deps.metrics);
  app.setNotFoundHandler((_request, reply) => {
    problems.send(new AppError('not_found', 'There is nothing here.'), reply, 'unknown');
  });
  app.setErrorHandler((error, request, reply) => {
    problems.send(error, reply, request.routeOptions.url ?? 'unknown');
  });
  // Whatever a pod calls its body, it is JSON; none is fine where none is read.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, body.length === 0 ? undefined : JSON.parse(body.toString()));
    } catch {
      done(new AppError('invalid_input', 'The body is not JSON.'));
    }
  });
  attemptRoutes(app, deps);
  return app;
}

function listenError(error: unknown, port: number): unknown {
  const code = systemCode(error);
  if (code !== 'EADDRINUSE' && code !== 'EACCES') return error;
  return new AppError(
    'unavailable',
    `Port ${port} for pods cannot be used (${messageOf(error)}). Set SLUICE_SCHEDULER_PORT to another one.`,
    { cause: error },
  );
}
