import { createServer, type ServerResponse } from 'node:http';
import { AppError, messageOf, systemCode } from '../errors/index.ts';
import type { Logger, Registry } from '../telemetry/index.ts';

export interface HealthServerOptions {
  /** 0 takes a free port. */
  readonly port: number;
  readonly host: string;
  /** Rejects with the reason while the process cannot do its work. */
  readonly check: () => Promise<void>;
  readonly metrics: Registry;
  readonly log: Logger;
}

export interface HealthServer {
  start(): Promise<void>;
  /** From now on not ready, so that nothing new is sent here; the routes go on answering. */
  drain(): void;
  stop(): Promise<void>;
  port(): number;
}

/** A probe gives up after some seconds: an answer that says what is slow serves more than none. */
const checkMs = 2000;

/** `GET /health/live`, `/health/ready` and `/metrics` of one process, for whoever runs it: no login, nothing that is secret. */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const state = { draining: false };
  const server = createServer((request, response) => {
    answer(options, state, request.url ?? '', response).catch((error: unknown) => {
      options.log.warn({ err: error }, 'health route failed');
      if (response.headersSent) response.destroy();
      else send(response, 500, { error: 'internal' });
    });
  });
  server.requestTimeout = 5000;
  return {
    start: async () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      server.once('error', (error) => {
        reject(listenError(error, options));
      });
      server.listen({ host: options.host, port: options.port }, resolve);
      await promise;
    },
    drain: () => {
      state.draining = true;
    },
    stop: async () => {
      if (!server.listening) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => {
        resolve();
      });
      server.closeAllConnections();
      await promise;
    },
    port: () => {
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : options.port;
    },
  };
}

async function answer(
  options: HealthServerOptions,
  state: { readonly draining: boolean },
  url: string,
  response: ServerResponse,
): Promise<void> {
  switch (url.split('?', 1)[0]) {
    case '/health/live':
      send(response, 200, { live: true });
      return;
    case '/health/ready': {
      const reason = state.draining ? 'stopping' : await reasonNotReady(options.check);
      send(response, reason === undefined ? 200 : 503, {
        ready: reason === undefined,
        ...(reason === undefined ? {} : { reason }),
      });
      return;
    }
    case '/metrics': {
      const text = await options.metrics.metrics();
      response.writeHead(200, { 'content-type': options.metrics.contentType }).end(text);
      return;
    }
    default:
      send(response, 404, { error: 'There are /health/live, /health/ready and /metrics.' });
  }
}

async function reasonNotReady(check: () => Promise<void>): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => {
    resolve(`the check did not answer within ${checkMs} ms`);
  }, checkMs);
  try {
    return await Promise.race([
      check().then(
        () => undefined,
        (error: unknown) => messageOf(error),
      ),
      promise,
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function send(response: ServerResponse, status: number, body: Readonly<Record<string, unknown>>): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(`${JSON.stringify(body)}\n`);
}

function listenError(error: Error, { host, port }: HealthServerOptions): Error {
  if (systemCode(error) !== 'EADDRINUSE') return error;
  return new AppError(
    'conflict',
    `${host}:${port} is taken by another program. Set SLUICE_HEALTH_PORT to a free port.`,
    {
      cause: error,
    },
  );
}
