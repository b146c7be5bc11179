import { isFinal, type Run } from '@sluice/shared/contracts';
import {
  Counter,
  createServiceLabel,
  Gauge,
  Histogram,
  metricOf,
  reachedAt,
  type Registry,
} from '@sluice/shared/telemetry';

export interface SchedulerMetrics {
  /** A run left the queue: its state is `starting`. */
  started(run: Run): void;
  /** @param before the run while the attempt was under way */
  ended(before: Run, after: Run, now: number): void;
}

/** What tells whether runs keep up, and which service holds them up. */
export function createSchedulerMetrics(registry: Registry): SchedulerMetrics {
  const serviceOf = createServiceLabel();
  const { queued, attempts, ended, finished } = definitions(registry);
  return {
    started: (run) => {
      const from = reachedAt(run, 'queued');
      const to = reachedAt(run, 'starting');
      if (from === undefined || to === undefined) return;
      queued.observe({ service: serviceOf(run.service) }, Math.max(0, to - from) / 1000);
    },
    ended: (before, after, now) => {
      const service = serviceOf(before.service);
      ended.inc({ state: after.state });
      if (isFinal(after.state)) finished.inc({ service, state: after.state });
      const from = reachedAt(before, 'starting');
      if (from !== undefined) attempts.observe({ service }, Math.max(0, now - from) / 1000);
    },
  };
}

function definitions(registry: Registry) {
  const registers = [registry];
  return {
    queued: metricOf(registry, Histogram, {
      name: 'sluice_run_queue_seconds',
      help: 'How long runs waited for their attempt to start, by service.',
      labelNames: ['service'],
      buckets: [0.01, 0.1, 1, 10, 60, 600, 3600],
      registers,
    }),
    attempts: metricOf(registry, Histogram, {
      name: 'sluice_run_attempt_seconds',
      help: 'How long attempts took from their start to their outcome, by service.',
      labelNames: ['service'],
      buckets: [0.05, 0.5, 5, 30, 120, 600, 3600, 21_600],
      registers,
    }),
    ended: metricOf(registry, Counter, {
      name: 'sluice_scheduler_attempts_ended_total',
      help: 'Attempts that ended, by the state their run was in afterwards (queued: another attempt follows).',
      labelNames: ['state'],
      registers,
    }),
    finished: metricOf(registry, Counter, {
      name: 'sluice_runs_finished_total',
      help: 'Runs that reached a final state after an attempt, by service.',
      labelNames: ['service', 'state'],
      registers,
    }),
  };
}

/** Places of runs: in use and in all. */
export function gaugeSlots(
  registry: Registry,
  slots: { readonly limit: number; readonly used: () => number },
): void {
  const limit = new Gauge({
    name: 'sluice_scheduler_slots',
    help: 'Runs that may be under way at the same time.',
    registers: [registry],
  });
  limit.set(slots.limit);
  const used: Gauge = new Gauge({
    name: 'sluice_scheduler_slots_used',
    help: 'Runs that are under way.',
    registers: [registry],
    collect: () => {
      used.set(slots.used());
    },
  });
}
