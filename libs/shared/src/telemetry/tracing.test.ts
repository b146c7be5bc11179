import { afterEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../config/index.ts';
import { createTracer, noTracer, type Tracer, type TracingConfig } from './tracing.ts';
import { silentLogger } from './logger.ts';
import { parsePairs, tracingConfig, tracingVariables } from './tracing-config.ts';
import { traceIdOf } from './trace.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const parent = `00-${trace}-b7ad6b7169203331-01`;
const unsampled = `00-${trace}-b7ad6b7169203331-00`;

function read(env: Record<string, string>): TracingConfig | undefined {
  return tracingConfig(
    loadConfig(tracingVariables, env, () => ''),
    '1.2.3',
  );
}

describe('variables', () => {
  test('without an endpoint there is no tracing, whatever else is set', () => {
    expect(read({ OTEL_SERVICE_NAME: 'x', OTEL_EXPORTER_OTLP_HEADERS: 'a=b' })).toBeUndefined();
  });

  test('the general endpoint gets the path, the one for traces is used as it is and wins', () => {
    const general = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector:4318/base/' };
    expect(read(general)?.url).toBe('https://collector:4318/base/v1/traces');
    const both = { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://other/here' };
    expect(read(both)?.url).toBe('http://other/here');
  });

  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'user:secret@collector'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'ftp://user:secret@collector'],
    ['OTEL_TRACES_SAMPLER', 'sometimes'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_TRACES_SAMPLER_ARG', 'half'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'no pair'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'a=%zz'],
  ])('%s=%s is refused by name, and what may be secret is not repeated', (name, value) => {
    const refused = (): unknown => read({ [name]: value });
    expect(refused).toThrow(new RegExp(`^(?!.*secret).*${name}`, 's'));
  });

  test('pairs as W3C baggage writes them', () => {
    expect(parsePairs(' a=1 , b=x%2Cy=z,,')).toEqual({ a: '1', b: 'x,y=z' });
    expect(parsePairs('')).toEqual({});
  });
});

describe('contexts', () => {
  let tracer: Tracer = noTracer;
  afterEach(async () => {
    await tracer.shutdown();
  });

  // Nobody is there: what is asked for is the decision, not the sending.
  async function make(sampler: TracingConfig['sampler'], ratio = 1): Promise<Tracer> {
    const config = {
      ...(read({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }) as TracingConfig),
      sampler,
      ratio,
    };
    const clock = { now: () => 1_700_000_000_000, monotonic: () => 0 };
    tracer = await createTracer(config, { clock, log: silentLogger() });
    return tracer;
  }

  test.each([
    ['parentbased_always_on', undefined, '01'],
    ['parentbased_always_on', parent, '01'],
    ['parentbased_always_on', unsampled, '00'],
    ['parentbased_always_off', undefined, '00'],
    ['parentbased_always_off', parent, '01'],
    ['parentbased_always_on', 'nonsense', '01'],
    ['always_off', parent, '00'],
    ['always_on', unsampled, '01'],
  ] as const)('%s of %s has the flags %s', async (sampler, from, flags) => {
    const { context } = await make(sampler);
    const made = context(from);
    expect(made).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    expect(made.slice(-2)).toBe(flags);
    expect(traceIdOf(made) === trace).toBe(from === parent || from === unsampled);
    expect(made.slice(36, 52)).not.toBe(parent.slice(36, 52));
  });

  test('a share of new traces, decided once a trace', async () => {
    const { context } = await make('parentbased_traceidratio', 0.25);
    const made = Array.from({ length: 4000 }, () => context(undefined));
    const sampled = made.filter((one) => one.endsWith('-01'));
    expect(sampled.length).toBeGreaterThan(800);
    expect(sampled.length).toBeLessThan(1200);
    for (const one of made) expect(context(one).slice(-2)).toBe(one.slice(-2));
  });

  test('a span that was announced keeps its context; the next one has its own', async () => {
    const made = await make('parentbased_always_on');
    const as = made.context(parent);
    expect(made.startSpan('announced', { as, parent }).traceparent).toBe(as);
    const next = made.startSpan('next', { parent: as });
    expect(traceIdOf(next.traceparent)).toBe(trace);
    expect(next.traceparent).not.toBe(as);
  });

  test('off, contexts still are made, and only where they are asked for', () => {
    const span = noTracer.startSpan('x', { parent: unsampled });
    expect(span.traceparent).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-00$`));
    expect(span.traceparent).toBe(span.traceparent);
    expect(noTracer.startSpan('x', { as: parent }).traceparent).toBe(parent);
  });
});
