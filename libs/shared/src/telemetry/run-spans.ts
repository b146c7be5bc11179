import { createHash } from 'node:crypto';
import type { AttemptOutcome, Run, RunSource } from '../contracts/index.ts';
import { traceIdOf } from './trace.ts';
import type { Span, SpanAttributes, Tracer } from './tracing.ts';

/** What every span about a run says. */
export function runAttributes(run: { readonly id: string; readonly service: string }): SpanAttributes {
  return {
    'sluice.service': run.service,
    'sluice.run.id': run.id,
    'faas.name': run.service,
    'faas.invocation_id': run.id,
  };
}

/**
 * The acceptance of a run. Its context is the run's `traceparent`, and the parent of all that is done for the run. End it once the claim is
 * stored and new: one that is not ended is not sent.
 */
export function startAcceptSpan(
  tracer: Tracer,
  run: {
    readonly id: string;
    readonly service: string;
    readonly source: RunSource;
    readonly bucket?: string | undefined;
  },
  parent: string | undefined,
): Span {
  return tracer.startSpan(`accept ${run.service}`, {
    parent,
    kind: 'producer',
    attributes: {
      ...runAttributes(run),
      'sluice.source': run.source,
      'faas.trigger': run.bucket === undefined ? 'http' : 'datasource',
      ...(run.bucket === undefined
        ? {}
        : { 'faas.document.collection': run.bucket, 'faas.document.operation': 'insert' }),
      'messaging.system': 'sluice',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'runs.start',
    },
  });
}

/**
 * The context of an attempt, the same whoever works it out: the span is made when the attempt is settled, after a kill by another process
 * than the one that started it.
 */
export function attemptTraceparent(run: Pick<Run, 'id' | 'attempt' | 'traceparent'>): string {
  const flags = run.traceparent.slice(-2);
  const id = createHash('sha256').update(`attempt ${run.id} ${run.attempt}`).digest('hex').slice(0, 16);
  return `00-${traceIdOf(run.traceparent)}-${id}-${flags}`;
}

/** The wait of a run that starts now: from where it became queued. */
export function queueSpan(tracer: Tracer, run: Run, now: number): void {
  tracer
    .startSpan(`queue ${run.service}`, {
      parent: run.traceparent,
      kind: 'consumer',
      startTime: reachedAt(run, 'queued') ?? run.created_at,
      attributes: {
        ...runAttributes(run),
        'sluice.attempt': run.attempt,
        'messaging.system': 'sluice',
        'messaging.operation.type': 'receive',
        'messaging.destination.name': 'runs.start',
      },
    })
    .end(now);
}

/** An attempt that has been settled, from its start. Its parts are its children already. */
export function attemptSpan(tracer: Tracer, run: Run, outcome: AttemptOutcome): void {
  const span = tracer.startSpan(`attempt ${run.service}`, {
    as: attemptTraceparent(run),
    parent: run.traceparent,
    startTime: reachedAt(run, 'starting') ?? run.started_at ?? run.created_at,
    attributes: {
      ...runAttributes(run),
      'sluice.attempt': run.attempt,
      'sluice.result': outcome.result,
      ...(outcome.exit_code === undefined ? {} : { 'process.exit.code': outcome.exit_code }),
    },
  });
  if (outcome.result === 'failed' || outcome.result === 'lost') {
    span.recordError(outcome.failure?.code ?? outcome.result);
  }
  span.end();
}

/** When the present attempt came into a state, epoch ms; undefined where the time line has dropped it. */
export function reachedAt(run: Run, state: Run['state']): number | undefined {
  return run.timeline.findLast((entry) => entry.state === state && entry.attempt === run.attempt)?.at;
}
