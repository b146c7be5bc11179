import { oneOf, secret, text, type ConfigOf, type Variable } from '../config/index.ts';
import { samplers, type TracingConfig } from './tracing.ts';

/** Reads a text by a rule of its own. */
function parsed<T>(spec: {
  why: string;
  form: string;
  fallback: T;
  parse: (value: string) => T;
}): Variable<T> {
  return { why: spec.why, form: spec.form, fallback: { value: spec.fallback }, parse: spec.parse };
}

function address(why: string): Variable<string | undefined> {
  const form = 'an http or https address';
  return parsed<string | undefined>({
    why,
    form,
    fallback: undefined,
    parse: (value) => {
      const url = URL.parse(value);
      // The value is not repeated: it may hold a password.
      if (url === null || !/^https?:$/.test(url.protocol)) throw new Error(`is not ${form}`);
      return value;
    },
  });
}

/** OpenTelemetry's own names (its specification, "SDK environment variables"). */
export const tracingVariables = {
  OTEL_EXPORTER_OTLP_ENDPOINT: address(
    'A collector that takes OTLP over HTTP as JSON (port 4318); `/v1/traces` is added. Traces are sent where this or the next is set.',
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: address('The same for traces alone, used as it is.'),
  OTEL_EXPORTER_OTLP_HEADERS: secret({
    why: 'Headers for the collector, `name=value,…` with values percent-encoded: its credentials.',
    fallback: undefined,
  }),
  OTEL_SERVICE_NAME: text({ why: 'Name of this installation in traces.', fallback: 'sluice' }),
  OTEL_RESOURCE_ATTRIBUTES: parsed({
    why: 'Further attributes of every span, such as `deployment.environment.name=test`.',
    form: '`name=value,…`, percent-encoded',
    fallback: '',
    parse: (value) => {
      parsePairs(value);
      return value;
    },
  }),
  OTEL_TRACES_SAMPLER: oneOf(samplers, {
    why: 'Which traces are sent; parentbased: what the caller decided counts, the rest is for traces that begin here.',
    fallback: 'parentbased_always_on',
  }),
  OTEL_TRACES_SAMPLER_ARG: parsed({
    why: 'Share of traces for the samplers by ratio.',
    form: 'a number, 0 to 1',
    fallback: 1,
    parse: (value) => {
      const number = Number(value.trim() === '' ? Number.NaN : value);
      if (!(number >= 0 && number <= 1)) throw new Error(`"${value}" is not a number from 0 to 1`);
      return number;
    },
  }),
} as const;

/** Undefined where no collector is named. */
export function tracingConfig(
  values: ConfigOf<typeof tracingVariables>,
  version: string,
): TracingConfig | undefined {
  const base = values.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url =
    values.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ??
    (base === undefined ? undefined : `${base.replace(/\/+$/, '')}/v1/traces`);
  if (url === undefined) return undefined;
  return {
    url,
    headers: values.OTEL_EXPORTER_OTLP_HEADERS,
    serviceName: values.OTEL_SERVICE_NAME,
    version,
    resourceAttributes: parsePairs(values.OTEL_RESOURCE_ATTRIBUTES),
    sampler: values.OTEL_TRACES_SAMPLER,
    ratio: values.OTEL_TRACES_SAMPLER_ARG,
  };
}

/**
 * `name=value,name=value`, as W3C baggage writes it.
 * @throws Error that says what is wrong, without the values
 */
export function parsePairs(list: string): Readonly<Record<string, string>> {
  const pairs: Record<string, string> = {};
  for (const part of list.split(',')) {
    if (part.trim() === '') continue;
    const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=(.*)$/s.exec(part) ?? [];
    if (name === '') throw new Error('is not a list of name=value, parted by commas');
    try {
      pairs[name] = decodeURIComponent(value.trim());
    } catch (error) {
      throw new Error(`has a value that is not percent-encoded: that of ${name}`, { cause: error });
    }
  }
  return pairs;
}
