import { join } from 'node:path';
import { tmpdir } from 'node:os';
import type { RegistryKeeper } from '@sluice/builder';
import { createKubeRegistryKeeper } from '@sluice/builder/adapters';
import { loadKubeTarget } from '@sluice/scheduler/adapters';
import { createObjectRunLogs } from '@sluice/shared/adapters';
import { buildLogsPrefix } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { composeBuilder, composeBuilds, openAccounts, type BuildsParts } from '@sluice/standalone/compose';
import { openFindings } from '../findings.ts';
import { openNeighbours, redisOptions, type Neighbours } from '../neighbours.ts';
import type { ProcessDeps, Started } from '../start.ts';
import type { ApiProcessConfig, BuilderProcessConfig } from '../variables.ts';

/** Makes images, as a process of its own. It has no key of secrets and sees none. */
export async function startBuilder(config: BuilderProcessConfig, deps: ProcessDeps): Promise<Started> {
  for (const name of ['BUILDKIT_HOST', 'REGISTRY_HOST'] as const) {
    if (config[name] === '') throw new AppError('invalid_input', `${name} is missing.`, { field: name });
  }
  const neighbours = await openNeighbours(config, deps, { name: 'builder' });
  const accounts = await openAccounts(config, deps.log);
  const parts = await openBuilds(config, deps, neighbours, accounts.logins);
  const { builder, looks } = composeBuilder(parts, {
    values: config,
    env: deps.env,
    keeper: await openKeeper(config, deps),
    environmentOf: accounts.environmentOf,
    bus: neighbours.bus,
    metrics: deps.metrics,
    tracer: deps.tracer,
    tmpRoot: join(tmpdir(), `sluice-${config.SLUICE_NAMESPACE}`),
    graceMs: config.SLUICE_DRAIN_TIMEOUT * 1000,
  });
  await builder.start();
  const check = async (): Promise<void> => builder.check();
  const findings = await openFindings(config, deps, neighbours, {
    component: 'builder',
    check,
    looks,
  });
  findings.announce();
  return {
    check,
    steps: [
      { name: 'findings', phase: 'intake', run: () => findings.stop() },
      {
        name: 'builder',
        phase: 'work',
        timeoutMs: config.SLUICE_DRAIN_TIMEOUT * 1000 + 20_000,
        run: () => builder.stop(),
      },
      {
        name: 'neighbours',
        phase: 'connections',
        run: async () => {
          await parts.close();
          await neighbours.close();
        },
      },
    ],
  };
}

/** A registry that is a workload of the cluster. */
async function openKeeper(
  config: BuilderProcessConfig,
  { clock }: ProcessDeps,
): Promise<RegistryKeeper | undefined> {
  const { SLUICE_REGISTRY_WORKLOAD: workload } = config;
  if (workload === undefined) return undefined;
  const access = await loadKubeTarget(config.KUBECONFIG === '' ? undefined : config.KUBECONFIG);
  return createKubeRegistryKeeper({
    access,
    workload,
    configPath: config.SLUICE_REGISTRY_CONFIG,
    storagePath: config.SLUICE_REGISTRY_STORAGE,
    clock,
  });
}

/** Requests for images and what makes them share Redis and the system bucket. */
export async function openBuilds(
  config: ApiProcessConfig | BuilderProcessConfig,
  { clock, log, metrics }: Pick<ProcessDeps, 'clock' | 'log' | 'metrics'>,
  { definitions, objects }: Neighbours,
  logins: () => Promise<readonly string[]>,
): Promise<BuildsParts> {
  return composeBuilds({
    values: config,
    redis: redisOptions(config, { clock, log }, 'builds'),
    definitions,
    logs: createObjectRunLogs({
      objects,
      clock,
      maxBytes: config.SLUICE_BUILD_LOG_LIMIT,
      below: buildLogsPrefix,
    }),
    logins,
    metrics,
    clock,
    log,
  });
}
