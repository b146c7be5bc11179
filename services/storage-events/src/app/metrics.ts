import type { RunSource } from '@sluice/shared/contracts';
import { Counter, Gauge, Histogram, type Registry } from '@sluice/shared/telemetry';

/** What an object that was offered became. */
export type ClaimStatus = 'claimed' | 'duplicate' | 'refused' | 'postponed';

export interface StorageEventsMetrics {
  notifications(received: number, unmatched: number): void;
  claim(source: RunSource, status: ClaimStatus): void;
  /** @param seconds spent working on the pass, waits between its parts left out */
  pass(seconds: number, failures: number): void;
}

/** @param failing answers how many input paths can't be listed now */
export function createStorageEventsMetrics(registry: Registry, failing: () => number): StorageEventsMetrics {
  const registers = [registry];
  const notifications = new Counter({
    name: 'sluice_storage_events_notifications_total',
    help: 'Objects that a source told of, by whether any service wants them.',
    labelNames: ['match'],
    registers,
  });
  const claims = new Counter({
    name: 'sluice_storage_events_claims_total',
    help: 'Objects offered to the ledger, by source and result (claimed: a new run; refused: past its hops; postponed: no room for its dead letter).',
    labelNames: ['source', 'result'],
    registers,
  });
  const passes = new Counter({
    name: 'sluice_storage_events_reconcile_passes_total',
    help: 'Full passes over all input paths.',
    labelNames: ['result'],
    registers,
  });
  const seconds = new Histogram({
    name: 'sluice_storage_events_reconcile_seconds',
    help: 'Time spent on a full pass.',
    buckets: [0.01, 0.05, 0.25, 1, 5, 30, 120, 600],
    registers,
  });
  const gauge: Gauge = new Gauge({
    name: 'sluice_storage_events_failing_paths',
    help: 'Input paths whose last listing failed.',
    registers,
    collect: () => {
      gauge.set(failing());
    },
  });
  return {
    notifications: (received, unmatched) => {
      notifications.inc({ match: 'yes' }, received - unmatched);
      notifications.inc({ match: 'no' }, unmatched);
    },
    claim: (source, result) => {
      claims.inc({ source, result });
    },
    pass: (duration, failures) => {
      passes.inc({ result: failures === 0 ? 'complete' : 'incomplete' });
      seconds.observe(duration);
    },
  };
}
