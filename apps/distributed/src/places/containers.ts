import { join } from 'node:path';
import { Secret } from '@sluice/shared/config';
import { composeExecution, keepSecret, openDataFolder } from '@sluice/standalone/compose';
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
  const folder = await openDataFolder(config.SLUICE_DATA);
  const instance = (await keepSecret(join(folder.root, 'instance-id'), 12)).secret.reveal();
  const execution = await composeExecution({
    ...deps,
    config,
    folder,
    instance,
    runnerKey: config.SLUICE_RUNNER_KEY ?? new Secret(''),
    objects,
    logs,
  });
  return {
    chosenBy: 'DOCKER_HOST',
    executor: execution.executor,
    runners: execution.runners,
    pods: undefined,
    describe: async () => ({ kubernetes_version: '', nodes: toClusterNodes([await execution.machine()]) }),
    check: async () => {},
    close: () => execution.close(),
  };
}
