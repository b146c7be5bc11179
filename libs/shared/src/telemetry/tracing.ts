import type { Clock } from '../lifecycle/clock.ts';
import type { Secret } from '../config/index.ts';
import type { Logger } from './logger.ts';
import type { Registry } from './metrics.ts';
import { childTraceparent } from './trace.ts';

/** What a span may say of itself: never a secret, a query string, a header or a file's name. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

export interface SpanOptions {
  /** The W3C context that it is a child of; absent or malformed: it begins a trace. */
  readonly parent?: string | undefined;
  /** A context that `context` or `attemptTraceparent` gave before; it keeps the id and whether it is sampled. */
  readonly as?: string;
  /** @default 'internal' */
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  /** Epoch milliseconds. @default now */
  readonly startTime?: number;
}

/** A piece of work under way. One that is never ended is never sent. */
export interface Span {
  /** W3C context of this span, for what it causes. */
  readonly traceparent: string;
  setAttribute(name: string, value: string | number | boolean): void;
  /** Marks it as failed. The code is a word (`timed_out`); messages may quote what users wrote, so they stay out. */
  recordError(code: string): void;
  /** @param endTime epoch milliseconds, now if absent */
  end(endTime?: number): void;
}

/** Makes spans; two of them in one process know nothing of each other. */
export interface Tracer {
  /** The context of a span that will be made later with `as`. */
  context(parent: string | undefined): string;
  startSpan(name: string, options?: SpanOptions): Span;
  /** Sends what waits, for three seconds at most. Never rejects. */
  shutdown(): Promise<void>;
}

/** Sends nothing. Contexts still are made where they are asked for, so that logs and other systems see one trace. */
export const noTracer: Tracer = {
  context: childTraceparent,
  startSpan: (_name, options) => unsentSpan(options?.as, options?.parent),
  shutdown: () => Promise.resolve(),
};

function unsentSpan(as: string | undefined, parent: string | undefined): Span {
  let made = as;
  return {
    get traceparent() {
      return (made ??= childTraceparent(parent));
    },
    setAttribute: nothing,
    recordError: nothing,
    end: nothing,
  };
}

function nothing(): void {
  // Nobody looks.
}

export const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;
export type SamplerName = (typeof samplers)[number];

export interface TracingConfig {
  /** Where spans are posted to. */
  readonly url: string;
  readonly headers: Secret | undefined;
  readonly serviceName: string;
  readonly version: string;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  readonly sampler: SamplerName;
  /** 0 to 1, for the samplers by ratio. */
  readonly ratio: number;
}

export interface TracerDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly log: Logger;
  readonly metrics?: Registry;
}

/** A tracer that sends, or `noTracer`. The SDK is loaded only where it is used: 7 MB and 60 ms of the start. */
export async function createTracer(config: TracingConfig | undefined, deps: TracerDeps): Promise<Tracer> {
  if (config === undefined) return noTracer;
  const { createOtlpTracer } = await import('./tracing-otlp.ts');
  return createOtlpTracer(config, deps);
}
