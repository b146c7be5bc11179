import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** A registry of its own for each process under test; metric names begin with `sluice_`. */
export function createMetrics(): Registry {
  return new Registry();
}

/** A metric of the registry, made at the first call: two components of one process may share it. */
export function metricOf<M extends object, C extends { readonly name: string }>(
  registry: Registry,
  Metric: new (configuration: C) => M,
  configuration: C,
): M {
  const known: unknown = registry.getSingleMetric(configuration.name);
  return known instanceof Metric ? known : new Metric(configuration);
}

/** Services that have a label of their own; all later ones are `other` together. */
export const labelledServices = 100;

/**
 * The value of the label `service`. People make services, so their number has no bound, and each would cost a monitoring system some
 * twenty series for ever.
 */
export function createServiceLabel(limit = labelledServices): (service: string) => string {
  const known = new Set<string>();
  return (service) => {
    if (known.has(service)) return service;
    if (known.size >= limit) return 'other';
    known.add(service);
    return service;
  };
}
