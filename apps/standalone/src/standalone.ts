import { join } from 'node:path';
import { openDatabase, type Database } from '@sluice/shared/adapters';
import type { Secret } from '@sluice/shared/config';
import type { Clock, Component, ShutdownStep } from '@sluice/shared/lifecycle';
import {
  createMetrics,
  registerProcessMetrics,
  createTracer,
  tracingConfig,
  type Logger,
  type Registry,
  type Tracer,
} from '@sluice/shared/telemetry';
import { composeStandaloneBuilds, type StandaloneBuilds } from './compose/standalone-builds.ts';
import type { AdapterChoice } from './compose/choice.ts';
import { composeComponents, startComponents, type Components } from './compose/components.ts';
import { composeExecution, type ExecutionParts } from './compose/execution.ts';
import { composeObjects, type ObjectsParts } from './compose/objects.ts';
import { meterObjects } from './compose/metered-objects.ts';
import { encryptOldSecrets, openSecretBox } from './compose/secrets.ts';
import { composeStores, type StoresParts } from './compose/stores.ts';
import { keepSecret, type DataFolder } from './data-folder.ts';
import type { StandaloneConfig } from './variables.ts';
import { version } from './version.ts';

export interface StandaloneDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The whole product in one process. */
export interface Standalone {
  start(adminPassword: Secret): Promise<void>;
  url(): string;
  slots(): number;
  services(): Promise<number>;
  readonly adapters: readonly AdapterChoice[];
  /** Folder of the buckets where they are folders. */
  readonly bucketsPath: string | undefined;
  readonly steps: readonly ShutdownStep[];
  readonly metrics: Registry;
  /** Frees what was opened, after a start that failed. */
  abandon(): Promise<void>;
}

/** What is open before and after the components. */
interface Opened {
  readonly database: Database;
  readonly stores: StoresParts;
  readonly objects: ObjectsParts;
  readonly execution: ExecutionParts;
  readonly runnerKey: Secret;
  readonly builds: StandaloneBuilds;
}

/**
 * Opens the data folder's database (which locks the folder), ends what a killed server left running, and composes stores, executor and components.
 * @throws AppError when another instance has the folder, or it is damaged
 */
export async function createStandalone(deps: StandaloneDeps): Promise<Standalone> {
  const { config, clock, log } = deps;
  const state: { components?: Components; publicUrl: string } = { publicUrl: config.SLUICE_PUBLIC_URL ?? '' };
  const metrics = createMetrics();
  registerProcessMetrics(metrics, { version });
  const tracer = await createTracer(tracingConfig(config, version), { clock, log, metrics });
  const opened = await open({ ...deps, metrics, tracer }, () => state.publicUrl);
  const { stores, objects, execution } = opened;
  const choices = [...stores.choices, objects.choice, execution.choice, opened.builds.choice];
  return {
    adapters: choices,
    metrics,
    bucketsPath: objects.bucketsPath,
    start: async (adminPassword) => {
      state.components = composeComponents({
        config,
        ...opened,
        choices,
        adminPassword,
        clock,
        log,
        metrics,
        tracer,
      });
      await startComponents(state.components);
      if (state.publicUrl === '') state.publicUrl = state.components.api.address().url;
    },
    url: () => state.components?.api.address().url ?? '',
    slots: () => state.components?.scheduler.slots().limit ?? 0,
    services: async () => (await stores.definitions.list({ limit: 1000 })).items.length,
    steps: shutdownSteps(config, state, opened, tracer),
    abandon: async () => {
      await Promise.allSettled(componentsOf(state.components).map((component) => component.stop()));
      await close(opened);
      await tracer.shutdown();
    },
  };
}

async function open(
  deps: StandaloneDeps & { readonly metrics: Registry; readonly tracer: Tracer },
  baseUrl: () => string,
): Promise<Opened> {
  const { folder, clock, log, metrics } = deps;
  // First of all, since it is the lock: nothing else may be touched while another instance has the folder.
  const database = openDatabase({ path: folder.database, clock, log, metrics });
  let stores: StoresParts | undefined;
  let builds: StandaloneBuilds | undefined;
  try {
    const instance = (await keepSecret(join(folder.root, 'instance-id'), 12)).secret.reveal();
    const runnerKey = (await keepSecret(join(folder.root, 'runner-key'), 32)).secret;
    stores = await composeStores({ ...deps, database, box: await openSecretBox(folder) });
    await encryptOldSecrets(stores.definitions, folder, log);
    builds = await composeStandaloneBuilds({ ...deps, stores });
    const parts = await composeObjects({ ...deps, database, baseUrl });
    const objects = { ...parts, objects: meterObjects(parts.objects, deps) };
    const execution = await composeExecution({
      ...deps,
      instance,
      runnerKey,
      objects: objects.objects,
      logs: stores.logs,
    });
    return { database, stores, objects, execution, runnerKey, builds };
  } catch (error) {
    await builds?.close();
    await stores?.close();
    await database.close();
    throw error;
  }
}

function componentsOf(components: Components | undefined): readonly Component[] {
  if (components === undefined) return [];
  const { api, storageEvents, builder, scheduler, relay } = components;
  return [api, storageEvents, ...(builder === undefined ? [] : [builder]), scheduler, relay];
}

function shutdownSteps(
  config: StandaloneConfig,
  state: { components?: Components },
  opened: Opened,
  tracer: Tracer,
): readonly ShutdownStep[] {
  const drainMs = config.SLUICE_DRAIN_TIMEOUT * 1000;
  const stop = async (pick: (components: Components) => Component): Promise<void> => {
    if (state.components !== undefined) await pick(state.components).stop();
  };
  return [
    { name: 'api', phase: 'intake', run: () => stop((one) => one.api) },
    { name: 'storage-events', phase: 'intake', run: () => stop((one) => one.storageEvents) },
    // Time-out, the grace between SIGTERM and SIGKILL, and a margin.
    {
      name: 'scheduler',
      phase: 'work',
      timeoutMs: drainMs + 20_000,
      run: () => stop((one) => one.scheduler),
    },
    {
      name: 'builder',
      phase: 'work',
      timeoutMs: drainMs + 20_000,
      run: async () => state.components?.builder?.stop(),
    },
    {
      name: 'stores',
      phase: 'connections',
      run: async () => {
        await stop((one) => one.relay);
        await close(opened);
      },
    },
    { name: 'tracing', phase: 'connections', run: () => tracer.shutdown() },
  ];
}

async function close({ database, stores, objects, execution, builds }: Opened): Promise<void> {
  await builds.close();
  await execution.close();
  await objects.close();
  await stores.close();
  await database.close();
}
