import { startCollector } from '../e2e/support/collector.ts';
import { acceptedRate, runRate, type BenchOptions } from './standalone.ts';
import { line, summarise } from './statistics.ts';

type Variables = Readonly<Record<string, string>>;

/** What traces cost: each figure off, on and sampled at 1 %, round by round beside each other. The collector throws everything away. */
export async function benchTracing(options: BenchOptions): Promise<void> {
  const collector = await startCollector({ discard: true });
  const on: Variables = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  const ways: Readonly<Record<string, Variables>> = {
    off: {},
    on,
    'sampled 1 %': {
      ...on,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.01',
    },
  };
  try {
    await compare(options, ways, 'POST /job accepted, backlog waiting', acceptedRate);
    await compare(options, ways, '"true" scripts, accepted to succeeded', runRate);
  } finally {
    await collector.close();
  }
}

async function compare(
  options: BenchOptions,
  ways: Readonly<Record<string, Variables>>,
  label: string,
  measure: (options: BenchOptions, env: Variables) => Promise<number>,
): Promise<void> {
  const rates = new Map<string, number[]>();
  const ratios = new Map<string, number[]>();
  for (let round = 0; round < options.repeat; round += 1) {
    const off = await measure(options, {});
    for (const [way, env] of Object.entries(ways)) {
      const rate = way === 'off' ? off : await measure(options, env);
      rates.set(way, [...(rates.get(way) ?? []), rate]);
      ratios.set(way, [...(ratios.get(way) ?? []), rate / off]);
    }
  }
  for (const [way, values] of rates) {
    options.write(line(`${label}, traces ${way}`, values, '/s'));
    const { median, min, max } = summarise(ratios.get(way) ?? []);
    if (way !== 'off') {
      options.write(`  ratio to off ${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})\n`);
    }
  }
}
