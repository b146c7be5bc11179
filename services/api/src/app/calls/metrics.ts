import type { RunnerResult } from '@sluice/shared/contracts';
import { Counter, Gauge, Histogram, type Registry } from '@sluice/shared/telemetry';

/** How a call ended for its caller. */
export type CallEnd = RunnerResult | 'lost' | 'rejected' | 'queue_full' | 'no_runner';

export interface CallMetrics {
  /** @param seconds between arrival and start */
  waited(seconds: number): void;
  /** @param seconds between start and answer */
  performed(seconds: number): void;
  ended(result: CallEnd): void;
  waiting(change: number): void;
  active(change: number): void;
}

const buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300];

/** Numbers about calls; labels are bounded. Two apis in one process share them. */
export function createCallMetrics(registry: Registry): CallMetrics {
  const calls = shared(registry, 'sluice_api_calls_total', (name) =>
    counter(registry, name, 'Synchronous calls that ended, by result.'),
  );
  const wait = shared(registry, 'sluice_api_call_wait_seconds', (name) =>
    histogram(registry, name, 'Seconds that calls waited for a runner.'),
  );
  const time = shared(registry, 'sluice_api_call_seconds', (name) =>
    histogram(registry, name, 'Seconds from the start of a call to the head of its answer.'),
  );
  const waiting = shared(registry, 'sluice_api_calls_waiting', (name) =>
    gauge(registry, name, 'Calls that wait for a runner.'),
  );
  const active = shared(registry, 'sluice_api_calls_active', (name) =>
    gauge(registry, name, 'Calls that a runner is working on.'),
  );
  return {
    waited: (seconds) => wait.observe(seconds),
    performed: (seconds) => time.observe(seconds),
    ended: (result) => calls.inc({ result }),
    waiting: (change) => waiting.inc(change),
    active: (change) => active.inc(change),
  };
}

function shared<M>(registry: Registry, name: string, make: (name: string) => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? make(name);
}

function counter(registry: Registry, name: string, help: string): Counter<'result'> {
  return new Counter({ name, help, labelNames: ['result'], registers: [registry] });
}

function histogram(registry: Registry, name: string, help: string): Histogram {
  return new Histogram({ name, help, buckets, registers: [registry] });
}

function gauge(registry: Registry, name: string, help: string): Gauge {
  return new Gauge({ name, help, registers: [registry] });
}
