import type { AttemptOutcome, RunnerResult } from '@sluice/shared/contracts';
import { Counter, Histogram, type Registry } from '@sluice/shared/telemetry';

export interface SupervisorMetrics {
  /** @param seconds that the phase took */
  phase(phase: 'fetch' | 'script' | 'upload', seconds: number): void;
  ended(outcome: AttemptOutcome): void;
}

/** Numbers about attempts; labels are bounded. Two supervisors in one process share them. */
export function createSupervisorMetrics(registry: Registry | undefined): SupervisorMetrics {
  if (registry === undefined) return { phase: () => undefined, ended: () => undefined };
  const name = { phase: 'sluice_attempt_phase_seconds', ended: 'sluice_attempts_total' };
  const phases =
    (registry.getSingleMetric(name.phase) as Histogram<'phase'> | undefined) ??
    new Histogram({
      name: name.phase,
      help: 'Seconds that the parts of an attempt took.',
      labelNames: ['phase'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600, 3600],
      registers: [registry],
    });
  const ended =
    (registry.getSingleMetric(name.ended) as Counter<'result' | 'code'> | undefined) ??
    new Counter({
      name: name.ended,
      help: 'Attempts that ended, by result and failure code.',
      labelNames: ['result', 'code'],
      registers: [registry],
    });
  return {
    phase: (phase, seconds) => phases.observe({ phase }, seconds),
    ended: (outcome) => ended.inc({ result: outcome.result, code: outcome.failure?.code ?? 'none' }),
  };
}

export interface CallMetrics {
  ended(result: RunnerResult | 'busy'): void;
}

/** Numbers about synchronous calls; two servers in one process share them. */
export function createCallMetrics(registry: Registry | undefined): CallMetrics {
  if (registry === undefined) return { ended: () => undefined };
  const name = 'sluice_runner_calls_total';
  const ended =
    (registry.getSingleMetric(name) as Counter<'result'> | undefined) ??
    new Counter({
      name,
      help: 'Calls that runners performed, by result; "busy" were refused since the runner had one in hand.',
      labelNames: ['result'],
      registers: [registry],
    });
  return { ended: (result) => ended.inc({ result }) };
}
