import {
  Counter,
  Gauge,
  Histogram,
  metricOf,
  noTracer,
  type Logger,
  type Registry,
  type Tracer,
} from '@sluice/shared/telemetry';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { routeOf } from './error-handler.ts';
import { headerOf } from './replies.ts';
import './types.ts';

/** Of an answer that nobody waited for. */
export const clientLeft = 499;

/** Asked again and again by machines; as traces they would bury the others. */
const untraced: ReadonlySet<string> = new Set(['/health', '/metrics']);

/** Times every request by route, method and kind of status (all bounded), logs one line each at level debug, and begins its span. */
export function installObservation(
  app: FastifyInstance,
  deps: { readonly metrics: Registry; readonly log: Logger; readonly tracer: Tracer },
): void {
  const metrics = httpMetrics(deps.metrics);
  const { log, tracer } = deps;
  app.decorateRequest('span');
  // Not Fastify's onResponse: it is not called where the client left before the end.
  app.addHook('onRequest', (request, reply, done) => {
    const route = routeOf(request);
    const span = startSpan(tracer, request, route);
    request.span = span;
    metrics.inFlight.inc();
    reply.raw.once('close', () => {
      const { method } = request;
      const status = reply.raw.writableFinished ? reply.statusCode : clientLeft;
      const seconds = reply.elapsedTime / 1000;
      metrics.inFlight.dec();
      metrics.durations.observe({ method, route, status: `${Math.floor(status / 100)}xx` }, seconds);
      metrics.responses.inc({ status });
      span.setAttribute('http.response.status_code', status);
      if (status >= 500) span.recordError(String(status));
      span.end();
      if (log.isLevelEnabled('debug')) {
        log.debug({ request_id: request.id, method, route, status, ms: reply.elapsedTime }, 'request');
      }
    });
    done();
  });
}

function startSpan(tracer: Tracer, request: FastifyRequest, route: string): FastifyRequest['span'] {
  const parent = headerOf(request, 'traceparent');
  if (request.is404 || untraced.has(route)) return noTracer.startSpan('', { parent });
  const { method } = request;
  // No path and no query: they hold what users called their files, and signatures.
  return tracer.startSpan(`${method} ${route}`, {
    parent,
    kind: 'server',
    attributes: { 'http.request.method': method, 'http.route': route },
  });
}

interface HttpMetrics {
  readonly durations: Histogram<'method' | 'route' | 'status'>;
  readonly responses: Counter<'status'>;
  readonly inFlight: Gauge;
}

/** Two apis of one process share a registry in tests. */
function httpMetrics(registry: Registry): HttpMetrics {
  const registers = [registry];
  return {
    durations: metricOf(registry, Histogram, {
      name: 'sluice_http_request_duration_seconds',
      help: 'Time from the request line to the end of the answer, by the first digit of its status.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
      registers,
    }),
    responses: metricOf(registry, Counter, {
      name: 'sluice_http_responses_total',
      help: 'Answers by exact status (499: the client left before the end).',
      labelNames: ['status'],
      registers,
    }),
    inFlight: metricOf(registry, Gauge, {
      name: 'sluice_http_requests_in_flight',
      help: 'Requests that have no answer yet.',
      registers,
    }),
  };
}
