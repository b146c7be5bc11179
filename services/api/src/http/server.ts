import type { Server } from 'node:http';
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyHttpOptions,
} from 'fastify';
import { installAccess } from './access.ts';
import { installAccountAccess } from './account-access.ts';
import { installBodies } from './body.ts';
import { installCallLog } from './call-log-hook.ts';
import type { HttpContext } from './context.ts';
import { installCors } from './cors.ts';
import { createErrorHandler, refuseBytes, type ErrorHandler } from './error-handler.ts';
import { installObservation } from './observe.ts';
import { sendText } from './replies.ts';
import { bucketRoutes } from './routes/buckets.ts';
import { buildRoutes } from './routes/builds.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { deploymentRoutes } from './routes/deployment.ts';
import { imageRoutes } from './routes/images.ts';
import { jobRoutes } from './routes/jobs.ts';
import { logRoutes } from './routes/logs.ts';
import { objectRoutes } from './routes/objects.ts';
import { openServerlessRoutes } from './routes/openserverless.ts';
import { pageRoutes } from './routes/pages.ts';
import { callRoutes } from './routes/run.ts';
import { runRoutes } from './routes/runs.ts';
import { serviceAuthRoutes } from './routes/service-auth.ts';
import { serviceRoutes } from './routes/services.ts';
import { systemRoutes } from './routes/system.ts';
import type { DocumentedRoute } from './route-doc.ts';
import { collectRoutes } from './route.ts';
import { urlFault } from './url-faults.ts';
import { validatorCompiler } from './validation.ts';

/** Headers must be in after this. */
const headersTimeoutMs = 60_000;
const keepAliveMs = 75_000;
/** Longer parts of a path name nothing: run ids end at 63 characters, bucket names too. */
const maxParamLength = 512;
const maxConnections = 10_000;

/** The HTTP server, not yet listening: everything that routes share, then the routes. */
export function createServer(context: HttpContext): FastifyInstance {
  const { config } = context;
  const onError = createErrorHandler(context.log);
  let routes: readonly DocumentedRoute[] = [];
  const options: FastifyHttpOptions<Server> = {
    logger: false,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    bodyLimit: config.bodyLimit,
    // Bodies have a limit of their own; an upload of gigabytes is bounded by silence, not by time.
    requestTimeout: 0,
    connectionTimeout: config.idleTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    http: { headersTimeout: headersTimeoutMs, requestTimeout: 0 },
    routerOptions: { maxParamLength },
    genReqId: requestIds(),
    clientErrorHandler: refuseBytes,
    // What the router cannot read: nothing of a route has run.
    frameworkErrors: (_error, request, reply) => {
      const { method, url = '/' } = request.raw;
      const fault = urlFault({ method: method ?? '', url }, routes, maxParamLength);
      onError(fault.error, request, reply, fault.wire);
    },
  };
  // Ours, so that Fastify's are not even loaded (50 ms of the start); its types know no validator but Ajv. Answers are
  // written by the routes: their schemas are for the generated page.
  Object.assign(options, {
    schemaController: {
      compilersFactory: {
        buildValidator: () => validatorCompiler,
        buildSerializer: () => () => JSON.stringify,
      },
    },
  });
  const app = Fastify(options);
  app.server.maxConnections = maxConnections;
  routes = install(app, context, onError);
  return app;
}

function install(
  app: FastifyInstance,
  context: HttpContext,
  onError: ErrorHandler,
): readonly DocumentedRoute[] {
  const { config } = context;
  installObservation(app, context);
  installCallLog(app, context);
  installCors(app, config.cors);
  app.addHook('onRequest', (request, reply, done) => {
    // Before its body is read: nobody wants it, and Fastify would have more to say of some methods.
    if (request.is404) notFound(request, reply);
    else done();
  });
  // Where a plugin of ours finds that there is nothing after all (`OPTIONS` that is no preflight).
  app.setNotFoundHandler(notFound);
  installBodies(app, { limit: config.bodyLimit, memory: config.bodyMemory, timeoutMs: config.readTimeoutMs });
  installAccess(app, context.authenticate);
  installAccountAccess(app, context);
  app.setErrorHandler((error, request, reply) => {
    onError(error, request, reply);
  });
  const routes = collectRoutes(app);
  pageRoutes(app, context, routes);
  systemRoutes(app, context);
  serviceRoutes(app, context);
  deploymentRoutes(app, context);
  serviceAuthRoutes(app, context);
  bucketRoutes(app, context);
  jobRoutes(app, context);
  callRoutes(app, context);
  logRoutes(app, context);
  const streams = runRoutes(app, context);
  buildRoutes(app, context, streams);
  imageRoutes(app, context);
  openServerlessRoutes(app, context);
  deadLetterRoutes(app, context);
  void app.register((scope, _options, done) => {
    objectRoutes(scope, context);
    done();
  });
  return routes;
}

/** The same for an unknown path and a wrong method (OSCAR §0). */
function notFound(request: FastifyRequest, reply: FastifyReply): void {
  void reply.code(404);
  if (request.method === 'HEAD') void reply.send();
  else void sendText(reply, '404 page not found');
}

function requestIds(): () => string {
  let last = 0;
  return () => {
    last += 1;
    return last.toString(36);
  };
}
