import { Counter, Histogram, metricOf, type Registry } from '@sluice/shared/telemetry';
import type { FastifyInstance } from 'fastify';

/** Counts and times requests of pods by route and status: both bounded. */
export function observeRequests(app: FastifyInstance, registry: Registry): void {
  const registers = [registry];
  const requests = metricOf(registry, Counter, {
    name: 'sluice_pod_requests_total',
    help: 'Requests of supervisors in pods, by route and status.',
    labelNames: ['route', 'code'],
    registers,
  });
  const seconds = metricOf(registry, Histogram, {
    name: 'sluice_pod_request_seconds',
    help: 'How long requests of supervisors in pods took; a claim is on the way of every run.',
    labelNames: ['route'],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1, 5],
    registers,
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
    requests.inc({ route, code: reply.statusCode });
    seconds.observe({ route }, reply.elapsedTime / 1000);
    done();
  });
}
