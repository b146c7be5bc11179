import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@sluice/shared/config';
import { shutDown, systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { openDataFolder } from '../apps/standalone/src/data-folder.ts';
import { createStandalone } from '../apps/standalone/src/standalone.ts';
import { readVariables } from '../apps/standalone/src/variables.ts';

/** The metrics that a real server has, since a list beside the code would be wrong sooner or later. */
export async function metricsTable(): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), 'sluice-docs-'));
  const log = silentLogger();
  const env = {
    SLUICE_DATA: data,
    OSCAR_SERVICE_PORT: '0',
    // Nobody is there, and nothing is sent: it makes the metrics of traces exist.
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    OTEL_TRACES_SAMPLER: 'always_off',
  };
  try {
    const config = readVariables(env, () => '');
    const folder = await openDataFolder(config.SLUICE_DATA);
    const server = await createStandalone({ config, folder, env, clock: systemClock, log });
    try {
      await server.start(new Secret('nobody logs in'));
      return tableOf(server.metrics.getMetricsAsArray() as unknown as readonly Metric[]);
    } finally {
      await shutDown(server.steps, log);
    }
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

/** What prom-client's metrics have, and its types leave out. */
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

function tableOf(metrics: readonly Metric[]): string {
  const rows = metrics
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, labelNames, help }) => {
      const labels = labelNames.map((label) => `\`${label}\``).join(', ');
      return `| \`${name}\` | ${type} | ${labels === '' ? '–' : labels} | ${help} |`;
    });
  return ['| metric | type | labels | what |', '|---|---|---|---|', ...rows].join('\n');
}
