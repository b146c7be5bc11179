import {
  ROOT_CONTEXT,
  SpanKind as OtelSpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
} from '@opentelemetry/api';
import { parseTraceParent, ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type IdGenerator,
  type Sampler,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import { Counter, type Registry } from './metrics.ts';
import { childTraceparent, newTraceparent } from './trace.ts';
import { parsePairs } from './tracing-config.ts';
import {
  noTracer,
  type Span,
  type SpanKind,
  type Tracer,
  type TracerDeps,
  type TracingConfig,
} from './tracing.ts';

/** Spans that wait to be sent; what comes past that is dropped and counted. */
const queueLimit = 8192;
const batchSize = 512;
/** Spans are sent after this, or sooner where there are many. */
const delayMs = 1000;
const exportTimeoutMs = 10_000;
const shutdownMs = 3000;
const warnEveryMs = 60_000;

const kinds = {
  internal: OtelSpanKind.INTERNAL,
  server: OtelSpanKind.SERVER,
  client: OtelSpanKind.CLIENT,
  producer: OtelSpanKind.PRODUCER,
  consumer: OtelSpanKind.CONSUMER,
} as const satisfies Record<SpanKind, OtelSpanKind>;

interface Ids {
  readonly traceId: string;
  readonly spanId: string;
}

/** Sends spans to a collector: OTLP over HTTP, as JSON. */
export function createOtlpTracer(config: TracingConfig, deps: TracerDeps): Tracer {
  const sampler = samplerOf(config);
  const time = createTime(deps.clock);
  // The context of a span is known before the span is: it is in the ledger by then. So ids are ours, and the SDK asks for them.
  const next: { ids: Ids } = { ids: idsOf(newTraceparent()) };
  const idGenerator: IdGenerator = {
    generateTraceId: () => next.ids.traceId,
    generateSpanId: () => next.ids.spanId,
  };
  const sending = createSending(config, deps);
  const provider = new TracerProvider({
    sampler: new AlwaysOnSampler(),
    idGenerator,
    spanProcessors: [sending.processor],
    spanLimits: { attributeValueLengthLimit: 1024, attributeCountLimit: 64, eventCountLimit: 16 },
    resource: resourceFromAttributes({
      'service.version': config.version,
      ...config.resourceAttributes,
      'service.name': config.serviceName,
    }),
  });
  const otel = provider.getTracer('sluice', config.version);
  const context = (parent: string | undefined): string => sampledContext(sampler, parent);
  return {
    context,
    startSpan: (name, options = {}) => {
      const { kind = 'internal', attributes = {}, startTime = time() } = options;
      const traceparent = options.as ?? context(options.parent);
      if (!isSampled(traceparent)) return noTracer.startSpan(name, { as: traceparent });
      next.ids = idsOf(traceparent);
      const parent = parentContext(options.parent, next.ids.traceId);
      const span = otel.startSpan(name, { kind: kinds[kind], attributes, startTime }, parent);
      return {
        traceparent,
        setAttribute: (key, value) => {
          span.setAttribute(key, value);
        },
        recordError: (code) => {
          span.setStatus({ code: SpanStatusCode.ERROR, message: code });
          span.setAttribute('error.type', code);
        },
        end: (endTime = time()) => {
          span.end(endTime);
        },
      } satisfies Span;
    },
    shutdown: () => shutDown(provider, sending.lost),
  };
}

/** A child of the parent or a new trace, with the sampler's word in its flags. */
function sampledContext(sampler: Sampler, parent: string | undefined): string {
  const own = childTraceparent(parent);
  const { traceId } = idsOf(own);
  const { decision } = sampler.shouldSample(
    parentContext(parent, traceId),
    traceId,
    '',
    OtelSpanKind.INTERNAL,
    {},
    [],
  );
  return `${own.slice(0, -2)}${decision === SamplingDecision.RECORD_AND_SAMPLED ? '01' : '00'}`;
}

/** Empty for a parent that is absent, malformed or of another trace. */
function parentContext(parent: string | undefined, traceId: string): Context {
  const context = parent === undefined ? null : parseTraceParent(parent);
  if (context === null || context.traceId !== traceId) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, { ...context, isRemote: true });
}

function isSampled(traceparent: string): boolean {
  return (Number.parseInt(traceparent.slice(-2), 16) & TraceFlags.SAMPLED) !== 0;
}

function idsOf(traceparent: string): Ids {
  return { traceId: traceparent.slice(3, 35), spanId: traceparent.slice(36, 52) };
}

function samplerOf({ sampler, ratio }: TracingConfig): Sampler {
  const byName = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  if (sampler === 'parentbased_always_on') return new ParentBasedSampler({ root: byName.always_on() });
  if (sampler === 'parentbased_always_off') return new ParentBasedSampler({ root: byName.always_off() });
  if (sampler === 'parentbased_traceidratio') return new ParentBasedSampler({ root: byName.traceidratio() });
  return byName[sampler]();
}

/** Epoch milliseconds with fractions, measured monotonically; follows the clock where that was set. */
function createTime(clock: TracerDeps['clock']): () => number {
  let offset = clock.now() - clock.monotonic();
  return () => {
    const monotonic = clock.monotonic();
    const now = clock.now();
    if (Math.abs(now - offset - monotonic) > 50) offset = now - monotonic;
    return offset + monotonic;
  };
}

/** The SDK's batches, behind a bound of our own that counts what it drops. */
function createSending(
  config: TracingConfig,
  deps: TracerDeps,
): { readonly processor: SpanProcessor; lost(): void } {
  const counted = countSpans(deps.metrics);
  const warn = createWarning(deps);
  const exporter = new OTLPTraceExporter({
    url: config.url,
    headers: parsePairs(config.headers?.reveal() ?? ''),
    timeoutMillis: exportTimeoutMs,
    // At the end all of the queue is sent at once.
    concurrencyLimit: queueLimit / batchSize,
  });
  let waiting = 0;
  const told: SpanExporter = {
    export: (spans, done) => {
      exporter.export(spans, ({ code, error }) => {
        waiting -= spans.length;
        const sent = code === ExportResultCode.SUCCESS;
        counted.inc({ result: sent ? 'sent' : 'failed' }, spans.length);
        if (!sent) warn(error?.message ?? 'no answer', spans.length);
        // It is told here: the SDK's own handler would print it.
        done({ code: ExportResultCode.SUCCESS });
      });
    },
    shutdown: () => exporter.shutdown(),
  };
  const batches = new BatchSpanProcessor({
    exporter: told,
    maxQueueSize: queueLimit,
    maxExportBatchSize: batchSize,
    scheduledDelayMillis: delayMs,
    exportTimeoutMillis: exportTimeoutMs + 1000,
  });
  const processor: SpanProcessor = {
    onStart: () => undefined,
    onEnd: (span) => {
      if (waiting >= queueLimit) {
        counted.inc({ result: 'dropped' });
        return;
      }
      waiting += 1;
      batches.onEnd(span);
    },
    forceFlush: () => batches.forceFlush(),
    shutdown: () => batches.shutdown(),
  };
  const lost = (): void => {
    if (waiting > 0) warn('no answer before the end', waiting);
  };
  return { processor, lost };
}

function countSpans(registry: Registry | undefined): Pick<Counter<'result'>, 'inc'> {
  return new Counter({
    name: 'sluice_trace_spans_total',
    help: 'Spans for the collector, by what became of them (dropped: too many were waiting).',
    labelNames: ['result'],
    registers: registry === undefined ? [] : [registry],
  });
}

/** One line a minute at most, with what was lost since the last. */
function createWarning({ clock, log }: TracerDeps): (reason: string, spans: number) => void {
  let last = Number.NEGATIVE_INFINITY;
  let lost = 0;
  return (reason, spans) => {
    lost += spans;
    const now = clock.monotonic();
    if (now - last < warnEveryMs) return;
    log.warn({ reason, spans: lost }, 'traces cannot be sent to the collector; runs go on without them');
    last = now;
    lost = 0;
  };
}

async function shutDown(provider: TracerProvider, lost: () => void): Promise<void> {
  const { promise: bound, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, shutdownMs);
  try {
    await Promise.race([provider.shutdown().catch(() => undefined), bound]);
    lost();
  } finally {
    clearTimeout(timer);
  }
}
