import type { AttemptPlan } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { runAttributes, traceIdOf, type Span, type SpanOptions, type Tracer } from '@sluice/shared/telemetry';
import { AttemptStop } from '../domain/attempt-stop.ts';
import type { SupervisorMetrics } from './metrics.ts';

export interface PhaseDeps {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly metrics: Pick<SupervisorMetrics, 'phase'>;
  readonly tracer: Tracer;
}

/** What names an attempt in the server's own log. */
export function attemptFields(
  plan: Pick<AttemptPlan, 'run_id' | 'attempt' | 'traceparent'>,
): Readonly<Record<string, unknown>> {
  return { run_id: plan.run_id, attempt: plan.attempt, trace_id: traceIdOf(plan.traceparent) };
}

/** Does a part of an attempt inside a span, child of the attempt's, and times it. */
export async function inPhase<T>(
  deps: PhaseDeps,
  plan: Pick<AttemptPlan, 'run_id' | 'attempt' | 'traceparent' | 'definition'>,
  phase: 'fetch' | 'script' | 'upload',
  options: Pick<SpanOptions, 'as'>,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const { name: service } = plan.definition;
  const span = deps.tracer.startSpan(`${phase} ${service}`, {
    ...options,
    parent: plan.traceparent,
    attributes: { ...runAttributes({ id: plan.run_id, service }), 'sluice.attempt': plan.attempt },
  });
  const started = deps.clock.monotonic();
  try {
    return await work(span);
  } catch (error) {
    span.recordError(error instanceof AttemptStop ? error.code : 'internal_error');
    throw error;
  } finally {
    deps.metrics.phase(phase, (deps.clock.monotonic() - started) / 1000);
    span.end();
  }
}
