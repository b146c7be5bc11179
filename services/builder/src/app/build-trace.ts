import type { BuildProgress } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import { traceIdOf, type Span, type Tracer } from '@sluice/shared/telemetry';
import { stageOf, type BuildStage } from '../domain/build-stage.ts';
import type { StoredBuild } from '../ports.ts';

/** The spans of one try of a build, in the trace of the request that made it. */
export interface BuildTrace {
  readonly traceId: string;
  /** Does a part of it. @param work gets the context of the part's span */
  part<T>(name: string, work: (traceparent: string) => Promise<T>): Promise<T>;
  /** The stages of what BuildKit does, as far as its progress tells them. */
  stages(parent: string): BuildStages;
  /** @param failure a word, where it is one */
  end(outcome: string, failure?: string): void;
}

export interface BuildStages {
  heed(progress: BuildProgress): void;
  end(): void;
}

/** Begins with the wait, which is over. */
export function startBuildTrace(
  tracer: Tracer,
  { id, spec, createdAt }: Pick<StoredBuild, 'id' | 'spec' | 'createdAt'>,
  attempt: number,
  now: number,
): BuildTrace {
  const parent = spec.traceparent;
  const attributes = {
    'sluice.build.id': id,
    'sluice.build.kind': spec.kind,
    'sluice.attempt': attempt,
  };
  // The wait for another try is not told apart from the tries before it.
  if (attempt === 1)
    tracer
      .startSpan(`queue build ${spec.kind}`, { parent, kind: 'consumer', startTime: createdAt, attributes })
      .end(now);
  const span = tracer.startSpan(`build ${spec.kind}`, { parent, attributes });
  return {
    traceId: traceIdOf(span.traceparent),
    part: async (name, work) => partOf(tracer, span, name, work),
    stages: (of) => stagesOf(tracer, of),
    end: (outcome, failure) => {
      span.setAttribute('sluice.result', outcome);
      if (failure !== undefined) span.recordError(failure);
      span.end();
    },
  };
}

async function partOf<T>(
  tracer: Tracer,
  { traceparent: parent }: Span,
  name: string,
  work: (traceparent: string) => Promise<T>,
): Promise<T> {
  const span = tracer.startSpan(name, { parent });
  try {
    return await work(span.traceparent);
  } catch (error) {
    span.recordError(failureWord(error));
    throw error;
  } finally {
    span.end();
  }
}

function stagesOf(tracer: Tracer, parent: string): BuildStages {
  let current: { readonly stage: BuildStage; readonly span: Span } | undefined;
  const end = (): void => {
    current?.span.end();
    current = undefined;
  };
  return {
    heed: ({ step }) => {
      const stage = stageOf(step);
      if (stage === undefined || stage === current?.stage) return;
      end();
      current = { stage, span: tracer.startSpan(`buildkit ${stage}`, { parent }) };
    },
    end,
  };
}

/** A word for programs: `requirements_failed`, `unavailable`. */
export function failureWord(error: unknown): string {
  if (!isAppError(error)) return 'internal';
  const { reason } = error.details;
  return typeof reason === 'string' ? reason : error.code;
}
