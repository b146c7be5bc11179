import { hostname } from 'node:os';
import { join } from 'node:path';
import type { NodeFacts } from '@sluice/api';
import type { Executor, RunnerHost } from '@sluice/scheduler';
import { createLocalExecutor, createLocalRunners, type LocalRunnersDeps } from '@sluice/scheduler/adapters';
import type { ConfigOf, Secret } from '@sluice/shared/config';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore, RunLogs } from '@sluice/shared/stores';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import type { ServiceDefinition } from '@sluice/shared/contracts';
import {
  createRunnerServer,
  createSupervisor,
  isImageName,
  pickBaseEnvironment,
  type RunnerServer,
  type ScriptRunner,
  type Supervisor,
} from '@sluice/supervisor';
import {
  createChildProcessScripts,
  createContainerScripts,
  killLeftovers,
  openContainerHost,
  openWarmContainer,
  removeLeftWork,
  type ContainerHost,
} from '@sluice/supervisor/adapters';
import type { DataFolder } from '../data-folder.ts';
import { readMachine } from '../machine.ts';
import type { executionVariables } from '../config.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';

type ExecutionConfig = ConfigOf<typeof executionVariables> &
  Pick<
    StandaloneConfig,
    | 'SLUICE_OUTPUT_LIMIT'
    | 'SLUICE_MAX_RUNS'
    | 'SLUICE_MAX_RUNNERS'
    | 'SLUICE_BODY_LIMIT'
    | 'SLUICE_CALL_RESPONSE_LIMIT'
    | 'SLUICE_CALL_RESPONSE_MEMORY'
  >;

export interface ExecutionDeps {
  readonly config: ExecutionConfig;
  readonly folder: Pick<DataFolder, 'root' | 'work' | 'scripts'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Marks this installation's scripts. */
  readonly instance: string;
  /** Tokens of runners are made of it. */
  readonly runnerKey: Secret;
  /** Where calls to warm runners come in, and the address that callers are given. @default a free port, for this machine alone */
  readonly runnerListener?: { readonly host: string; readonly port: number; readonly url?: string };
  readonly objects: ObjectStore;
  readonly logs: RunLogs;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
}

/** What performs attempts on this machine. */
export interface ExecutionParts {
  readonly choice: AdapterChoice;
  readonly executor: Executor;
  readonly runners: RunnerHost;
  /** This machine, and what of it is given away. */
  machine(): Promise<NodeFacts>;
  /** What of a definition cannot be done here. */
  refuse(definition: ServiceDefinition): readonly { readonly field: string; readonly message: string }[];
  close(): Promise<void>;
}

/**
 * Ends what a killed server left (running scripts, then their folders) and composes what performs attempts. Only whoever has the data folder's lock
 * may call it.
 */
export async function composeExecution(deps: ExecutionDeps): Promise<ExecutionParts> {
  const { config, folder, clock, log } = deps;
  const place = await openPlace(deps);
  const supervisor = createSupervisor({
    objects: deps.objects,
    scripts: place.scripts,
    scriptCacheDir: folder.scripts,
    baseEnv: place.baseEnv,
    hostName: hostname(),
    instance: deps.instance,
    clock,
    log,
    metrics: deps.metrics,
    tracer: deps.tracer,
    limits: { outputBytes: config.SLUICE_OUTPUT_LIMIT },
  });
  const server = openRunnerServer(deps, supervisor);
  await server.start();
  const capacity = { cpuMillis: Math.round(config.SLUICE_CPU * 1000), memoryBytes: config.SLUICE_MEMORY };
  const executor = createLocalExecutor({
    kind: place.kind,
    perform: supervisor.perform,
    logs: deps.logs,
    workRoot: folder.work,
    capacity,
    slots: config.SLUICE_MAX_RUNS,
    clock,
    log,
  });
  return {
    choice: place.choice,
    runners: createLocalRunners({
      kind: place.kind,
      limit: config.SLUICE_MAX_RUNNERS,
      server,
      scriptsFor: place.scriptsFor,
      log,
    }),
    executor,
    machine: async () => readMachine(capacity, executor.reserved(), folder.root),
    refuse: place.refuse,
    close: async () => {
      await server.stop(0);
      await place.close();
    },
  };
}

function openRunnerServer(deps: ExecutionDeps, { perform }: Supervisor): RunnerServer {
  const { config, clock, log, metrics, tracer, runnerListener } = deps;
  return createRunnerServer({
    perform,
    key: deps.runnerKey.reveal(),
    ...(runnerListener === undefined ? {} : { listen: runnerListener }),
    ...(runnerListener?.url === undefined ? {} : { url: runnerListener.url }),
    workRoot: runnersRoot(deps.folder),
    clock,
    log,
    metrics,
    tracer,
    limits: {
      bodyBytes: config.SLUICE_BODY_LIMIT,
      responseBytes: config.SLUICE_CALL_RESPONSE_LIMIT,
      answerMemory: config.SLUICE_CALL_RESPONSE_MEMORY,
    },
  });
}

/** Folders of runners: one each, and in it one for each of its calls. */
function runnersRoot(folder: Pick<DataFolder, 'work'>): string {
  return join(folder.work, 'runners');
}

/** Where scripts run. */
interface Place extends Pick<ExecutionParts, 'choice' | 'refuse' | 'close'> {
  readonly kind: 'process' | 'container';
  readonly scripts: ScriptRunner;
  readonly scriptsFor: LocalRunnersDeps<ScriptRunner>['scriptsFor'];
  readonly baseEnv: Readonly<Record<string, string>>;
}

async function openPlace(deps: ExecutionDeps): Promise<Place> {
  const { config, folder, clock, log } = deps;
  if (config.DOCKER_HOST !== undefined) return openContainers(deps, config.DOCKER_HOST);
  await cleanUp(deps);
  const scripts = createChildProcessScripts({
    shell: config.SLUICE_SHELL,
    pipeDir: join(folder.work, '.pipes'),
    clock,
    log,
  });
  return {
    kind: 'process',
    choice: { port: 'executor', adapter: 'processes', chosenBy: 'DOCKER_HOST is not set' },
    scripts,
    // A process is made for each call, and ended after it: what is kept is the helper that makes it.
    scriptsFor: () => {
      const release = scripts.keep();
      return Promise.resolve({ scripts, close: async () => release() });
    },
    baseEnv: pickBaseEnvironment(deps.env),
    refuse: () => [],
    close: async () => scripts.stop(),
  };
}

async function openContainers(
  deps: ExecutionDeps,
  address: NonNullable<ExecutionConfig['DOCKER_HOST']>,
): Promise<Place> {
  const { config, instance, clock, log } = deps;
  const user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const loginsDir = config.DOCKER_CONFIG ?? join(deps.env['HOME'] ?? '/', '.docker');
  const host = await openContainerHost({ address, instance, user, loginsDir, clock, log });
  await cleanUp(deps, host);
  const scripts = createContainerScripts(host);
  return {
    kind: 'container',
    choice: { port: 'executor', adapter: 'containers', chosenBy: `DOCKER_HOST (${address.text})` },
    scripts,
    scriptsFor: async (plan, control) =>
      openWarmContainer(host, plan, { workDir: join(runnersRoot(deps.folder), plan.runner_id), ...control }),
    // An image has a PATH and a language of its own, and this machine's would name folders that are not in it.
    baseEnv: {},
    refuse: ({ image }) =>
      isImageName(image)
        ? []
        : [{ field: 'image', message: `${JSON.stringify(image)} is not the name of an image` }],
    close: async () => host.close(),
  };
}

async function cleanUp({ folder, instance, clock, log }: ExecutionDeps, host?: ContainerHost): Promise<void> {
  const containers = (await host?.removeLeftovers()) ?? 0;
  if (containers > 0) log.warn({ containers }, 'containers of a killed server were still there');
  const { ended, remaining } = await killLeftovers(instance, { clock });
  if (ended + remaining > 0) log.warn({ ended, remaining }, 'scripts of a killed server were still running');
  const kept = await removeLeftWork(folder.work);
  if (kept.length > 0) log.warn({ kept }, 'work folders could not be removed');
}
