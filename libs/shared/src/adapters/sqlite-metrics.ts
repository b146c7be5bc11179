import { Gauge, Histogram, metricOf, type Registry } from '../telemetry/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Channel } from './sqlite-bus-channels.ts';
import type { Transact } from './sqlite-transaction.ts';

/** Times each transaction: the event loop stands still meanwhile. */
export function timedTransact(
  transact: Transact,
  { metrics, clock }: { readonly metrics?: Registry; readonly clock: Pick<Clock, 'monotonic'> },
): Transact {
  if (metrics === undefined) return transact;
  const seconds = metricOf(metrics, Histogram, {
    name: 'sluice_database_transaction_seconds',
    help: 'Time that a write transaction took, the flush to disk included; many writers share one.',
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
    registers: [metrics],
  });
  return (next) => {
    const started = clock.monotonic();
    try {
      return transact(next);
    } finally {
      seconds.observe((clock.monotonic() - started) / 1000);
    }
  };
}

/** How many messages wait for whom, from the counts that the bus keeps anyway. */
export function gaugeMessages(registry: Registry, channels: () => readonly Channel[]): void {
  const gauge: Gauge<'message' | 'reader'> = metricOf(registry, Gauge<'message' | 'reader'>, {
    name: 'sluice_bus_messages',
    help: 'Messages that are not done, those in hand and those waiting for their time included; commands have no reader but their owner.',
    labelNames: ['message', 'reader'],
    registers: [registry],
    collect: () => {
      gauge.reset();
      for (const { name, reader, total } of channels())
        gauge.set({ message: name, reader: reader || 'owner' }, total);
    },
  });
}
