import { join } from 'node:path';
import { ConfigError, Secret } from '@sluice/shared/config';
import { composeExecution, keepSecret, openDataFolder, type ExecutionDeps } from '@sluice/standalone/compose';
import { toClusterNodes } from '../cluster-state.ts';
import type { Neighbours } from '../neighbours.ts';
import type { ProcessDeps } from '../start.ts';
import type { SchedulerProcessConfig } from '../variables.ts';
import type { Place } from './place.ts';

/** Containers of one engine, which are known to this process alone: there is one scheduler then. */
export async function openContainerPlace(
  config: SchedulerProcessConfig,
  deps: ProcessDeps,
  { objects, logs }: Neighbours,
): Promise<Place> {
  const runnerListener = runnerListenerOf(config);
  const folder = await openDataFolder(config.SLUICE_DATA);
  const instance = (await keepSecret(join(folder.root, 'instance-id'), 12)).secret.reveal();
  const execution = await composeExecution({
    ...deps,
    config,
    folder,
    instance,
    runnerKey: config.SLUICE_RUNNER_KEY ?? new Secret(''),
    runnerListener,
    objects,
    logs,
  });
  return {
    chosenBy: 'DOCKER_HOST',
    executor: execution.executor,
    runners: execution.runners,
    pods: undefined,
    describe: async () => ({ kubernetes_version: '', nodes: toClusterNodes([await execution.machine()]) }),
    looks: [],
    check: async () => {},
    close: () => execution.close(),
  };
}

/** @throws ConfigError where callers would be sent to an address that is not this process */
function runnerListenerOf(config: SchedulerProcessConfig): NonNullable<ExecutionDeps['runnerListener']> {
  const { SLUICE_RUNNER_HOST: host, SLUICE_RUNNER_PORT: port, SLUICE_RUNNER_URL: url } = config;
  if (url !== undefined) return { host, port, url };
  if (/^(127\.|::1$|localhost$)/.test(host)) return { host, port };
  const message = `is missing, and SLUICE_RUNNER_HOST is ${host}; give the address that the api reaches it by, such as http://scheduler:8083`;
  throw new ConfigError([{ variable: 'SLUICE_RUNNER_URL', message }]);
}
