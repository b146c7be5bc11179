import cors, { type FastifyCorsOptions } from '@fastify/cors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { CorsConfig } from '../cors-config.ts';

/** What scripts of a page may read beside the few headers that they always may. */
const exposedHeaders = [
  'Location',
  'ETag',
  'Retry-After',
  'X-Request-Id',
  'X-Run-Id',
  'X-Call-Id',
  'X-Duration-Seconds',
  'X-Next-Offset',
  'X-Log-Complete',
  'X-Sluice-Warning',
];
/** What flask-cors lets through where every origin may. */
const everyMethod = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'];
/** Seconds for which a browser need not ask again. */
const maxAge = 600;

/**
 * Lets web pages of the allowed origins use the API, refusals included: it is the first of the hooks that may answer. The browser's
 * own logins and cookies are never let through (`Access-Control-Allow-Credentials`); a page sends its `Authorization` itself.
 */
export function installCors(app: FastifyInstance, config: CorsConfig): void {
  const any = config.origins.has('*');
  const allowed = {
    origin: any ? '*' : true,
    methods: [...config.methods],
    allowedHeaders: [...config.headers],
    exposedHeaders,
    maxAge,
  };
  // Called and not registered: hooks of a plugin come after those of the server itself, and so after the login.
  cors(
    app,
    (request: FastifyRequest, decide) => {
      if (isOpen(request)) decide(null, openTo(request));
      else decide(null, isWanted(request, any, config.origins) ? allowed : { origin: false });
    },
    (error) => {
      if (error !== undefined) throw error;
    },
  );
}

/** OpenServerless' routes are open to pages of every origin, as they are in the original; there are no cookies to misuse. */
function isOpen(request: FastifyRequest): boolean {
  return !request.is404 && request.routeOptions.config.wire === 'openserverless';
}

function openTo({ headers }: FastifyRequest): FastifyCorsOptions {
  const { origin } = headers;
  return {
    origin: origin ?? '*',
    methods: everyMethod,
    exposedHeaders,
    maxAge,
    // `OPTIONS` without the marks of a preflight is answered by the route.
    preflight: origin !== undefined && headers['access-control-request-method'] !== undefined,
    optionsSuccessStatus: 200,
  };
}

/** Whether the answer gets CORS headers. `OPTIONS` without the marks of a preflight is a method that no route has (OSCAR §0). */
function isWanted(request: FastifyRequest, any: boolean, origins: ReadonlySet<string>): boolean {
  const { origin } = request.headers;
  if (origin === undefined || (!any && !origins.has(origin))) return false;
  return request.method !== 'OPTIONS' || request.headers['access-control-request-method'] !== undefined;
}
