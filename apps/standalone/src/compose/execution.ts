import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Executor } from '@sluice/scheduler';
import { createProcessExecutor } from '@sluice/scheduler/adapters';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore, RunLogs } from '@sluice/shared/stores';
import type { Logger, Registry } from '@sluice/shared/telemetry';
import { createSupervisor, pickBaseEnvironment } from '@sluice/supervisor';
import { createChildProcessScripts, killLeftovers, removeLeftWork } from '@sluice/supervisor/adapters';
import type { DataFolder } from '../data-folder.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';

export interface ExecutionDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Marks this installation's scripts. */
  readonly instance: string;
  readonly objects: ObjectStore;
  readonly logs: RunLogs;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** What performs attempts on this machine. */
export interface ExecutionParts {
  readonly choice: AdapterChoice;
  readonly executor: Executor;
  close(): Promise<void>;
}

/**
 * Ends what a killed server left (running scripts, then their folders) and composes what performs attempts. Only whoever has the data folder's lock
 * may call it.
 */
export async function composeExecution(deps: ExecutionDeps): Promise<ExecutionParts> {
  const { config, folder, clock, log } = deps;
  await cleanUp(deps);
  const scripts = createChildProcessScripts({
    shell: config.SLUICE_SHELL,
    pipeDir: join(folder.work, '.pipes'),
    clock,
    log,
  });
  const supervisor = createSupervisor({
    objects: deps.objects,
    scripts,
    scriptCacheDir: folder.scripts,
    baseEnv: pickBaseEnvironment(deps.env),
    hostName: hostname(),
    instance: deps.instance,
    clock,
    log,
    metrics: deps.metrics,
  });
  return {
    choice: { port: 'executor', adapter: 'processes', chosenBy: 'the only one of this version' },
    executor: createProcessExecutor({
      perform: supervisor.perform,
      logs: deps.logs,
      workRoot: folder.work,
      capacity: { cpuMillis: Math.round(config.SLUICE_CPU * 1000), memoryBytes: config.SLUICE_MEMORY },
      slots: config.SLUICE_MAX_RUNS,
      clock,
      log,
    }),
    close: async () => scripts.stop(),
  };
}

async function cleanUp({ folder, instance, clock, log }: ExecutionDeps): Promise<void> {
  const { ended, remaining } = await killLeftovers(instance, { clock });
  if (ended + remaining > 0) log.warn({ ended, remaining }, 'scripts of a killed server were still running');
  const kept = await removeLeftWork(folder.work);
  if (kept.length > 0) log.warn({ kept }, 'work folders could not be removed');
}
