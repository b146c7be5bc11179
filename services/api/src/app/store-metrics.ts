import type { Bus } from '@sluice/shared/bus';
import { runStates } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger } from '@sluice/shared/stores';
import { Gauge, metricOf, type Logger, type Registry } from '@sluice/shared/telemetry';

export interface StoreMetricsDeps {
  readonly ledger: Pick<RunLedger, 'counts' | 'list'>;
  readonly bus: { readonly deadLetters: Pick<Bus['deadLetters'], 'count'> };
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** What ledger and bus hold, read when somebody asks: both keep counts, nothing is counted here. */
export function registerStoreMetrics(registry: Registry, deps: StoreMetricsDeps): void {
  const { ledger, bus, clock, log } = deps;
  /** A store that is away takes its figures with it, not the others. */
  const read = (gauge: Gauge, work: () => Promise<void>) => async (): Promise<void> => {
    try {
      await work();
    } catch (error) {
      gauge.reset();
      log.warn({ err: error }, 'figures of a store cannot be read');
    }
  };
  metric(registry, 'sluice_runs', 'Runs that there are records of, by state.', ['state'], (runs) =>
    read(runs, async () => {
      const counts = await ledger.counts();
      for (const state of runStates) runs.set({ state }, counts[state]);
    }),
  );
  const oldestHelp = 'Age of the run that has been waiting longest, from its acceptance; 0 where none waits.';
  metric(registry, 'sluice_runs_oldest_queued_seconds', oldestHelp, [], (age) =>
    read(age, async () => {
      const { items } = await ledger.list({ states: ['queued'], order: 'oldest', limit: 1 });
      const [first] = items;
      age.set(first === undefined ? 0 : Math.max(0, clock.now() - first.created_at) / 1000);
    }),
  );
  metric(
    registry,
    'sluice_dead_letters',
    'Messages that could not be processed and wait for a person.',
    [],
    (dead) =>
      read(dead, async () => {
        dead.set(await bus.deadLetters.count());
      }),
  );
}

function metric(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  collector: (gauge: Gauge) => () => Promise<void>,
): void {
  const gauge: Gauge = metricOf(registry, Gauge, {
    name,
    help,
    labelNames,
    registers: [registry],
    collect: async () => collector(gauge)(),
  });
}
