import { Histogram, type Logger, type Registry } from '@sluice/shared/telemetry';
import type { FastifyInstance } from 'fastify';
import { routeOf } from './error-handler.ts';

/** Of an answer that nobody waited for. */
const clientLeft = 499;

const name = 'sluice_http_request_duration_seconds';

/** Times every request by route, method and status (all bounded), and logs one line each at level debug. */
export function installObservation(
  app: FastifyInstance,
  deps: { readonly metrics: Registry; readonly log: Logger },
): void {
  const histogram = durations(deps.metrics);
  const { log } = deps;
  // Not Fastify's onResponse: it is not called where the client left before the end.
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => {
      const route = routeOf(request);
      const { method } = request;
      const status = reply.raw.writableFinished ? reply.statusCode : clientLeft;
      histogram.observe({ method, route, status }, reply.elapsedTime / 1000);
      if (log.isLevelEnabled('debug')) {
        log.debug({ request_id: request.id, method, route, status, ms: reply.elapsedTime }, 'request');
      }
    });
    done();
  });
}

function durations(registry: Registry): Histogram<'method' | 'route' | 'status'> {
  const known = registry.getSingleMetric(name);
  // Two apis of one process share a registry in tests.
  if (known instanceof Histogram) return known;
  return new Histogram({
    name,
    help: 'Time from the request line to the end of the answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers: [registry],
  });
}
