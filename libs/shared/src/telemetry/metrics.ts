import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** A registry of its own for each process under test; metric names begin with `sluice_`. */
export function createMetrics(): Registry {
  return new Registry();
}
