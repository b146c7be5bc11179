import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { apiConfig, createApi, type Api } from '@sluice/api';
import { createScheduler, type Executor, type Scheduler } from '@sluice/scheduler';
import { createProcessExecutor } from '@sluice/scheduler/adapters';
import {
  createFolderObjectStore,
  createFolderRunLogs,
  createPresigner,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteObjectIndex,
  createSqliteRunLedger,
  openDatabase,
  type Database,
  type FolderObjectStore,
  type Presigner,
} from '@sluice/shared/adapters';
import { createOutboxRelay, type Bus } from '@sluice/shared/bus';
import { runChangedMessage, runStartMessage } from '@sluice/shared/contracts';
import type { Secret } from '@sluice/shared/config';
import type { Clock, Component, ShutdownStep } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLedger, RunLogs } from '@sluice/shared/stores';
import { createMetrics, type Logger, type Registry } from '@sluice/shared/telemetry';
import { createStorageEvents, storageEventsConfig } from '@sluice/storage-events';
import { createFolderWatcher } from '@sluice/storage-events/adapters';
import { createSupervisor, pickBaseEnvironment } from '@sluice/supervisor';
import {
  createChildProcessScripts,
  killLeftovers,
  removeLeftWork,
  type ChildProcessScripts,
} from '@sluice/supervisor/adapters';
import { adaptersChosen } from './adapters-chosen.ts';
import { keepSecret, type DataFolder } from './data-folder.ts';
import { createUpkeep } from './upkeep.ts';
import { version } from './version.ts';
import type { StandaloneConfig } from './variables.ts';

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
  readonly adapters: typeof adaptersChosen;
  readonly steps: readonly ShutdownStep[];
  /** Frees what was opened, after a start that failed. */
  abandon(): Promise<void>;
}

interface Stores {
  readonly database: Database;
  readonly bus: Bus;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: FolderObjectStore;
  readonly logs: RunLogs;
  readonly presigner: Presigner;
}

/** What runs once the password is known. */
interface Components {
  readonly api: Api;
  readonly scheduler: Scheduler;
  readonly storageEvents: Component;
  readonly relay: Component;
}

/**
 * Opens the data folder's database (which locks the folder), ends what a killed server left running, and composes stores, executor and components.
 * @throws AppError when another instance has the folder, or it is damaged
 */
export async function createStandalone(deps: StandaloneDeps): Promise<Standalone> {
  const { config, folder, clock, log } = deps;
  const state: { components?: Components; publicUrl: string } = { publicUrl: config.SLUICE_PUBLIC_URL ?? '' };
  // First of all, since it is the lock: nothing else may be touched while another instance has the folder.
  const database = openDatabase({ path: folder.database, clock, log });
  try {
    const instance = (await keepSecret(join(folder.root, 'instance-id'), 12)).secret.reveal();
    await cleanUp(deps, instance);
    const stores = await openStores(deps, database, () => state.publicUrl);
    const scripts = createChildProcessScripts({
      shell: config.SLUICE_SHELL,
      pipeDir: join(folder.work, '.pipes'),
      clock,
      log,
    });
    const metrics = createMetrics();
    const upkeep = createUpkeep({ objects: stores.objects, recordsMs: config.TTL_JOB * 1000, clock, log });
    const executor = createExecutor(deps, stores, scripts, instance, metrics);
    return {
      adapters: adaptersChosen,
      start: async (adminPassword) => {
        state.components = createComponents(deps, { stores, executor, metrics, adminPassword });
        await startComponents(state.components);
        if (state.publicUrl === '') state.publicUrl = state.components.api.address().url;
      },
      url: () => state.components?.api.address().url ?? '',
      slots: () => state.components?.scheduler.slots().limit ?? 0,
      services: async () => (await stores.definitions.list({ limit: 1000 })).items.length,
      steps: shutdownSteps(config, state, { stores, scripts, upkeep }),
      abandon: async () => {
        await Promise.allSettled(componentsOf(state.components).map((component) => component.stop()));
        await closeStores({ stores, scripts, upkeep });
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** What a killed server left: running scripts, then their folders. */
async function cleanUp({ folder, clock, log }: StandaloneDeps, instance: string): Promise<void> {
  const { ended, remaining } = await killLeftovers(instance, { clock });
  if (ended + remaining > 0) log.warn({ ended, remaining }, 'scripts of a killed server were still running');
  const kept = await removeLeftWork(folder.work);
  if (kept.length > 0) log.warn({ kept }, 'work folders could not be removed');
}

async function openStores(deps: StandaloneDeps, database: Database, baseUrl: () => string): Promise<Stores> {
  const { folder, clock, log, config } = deps;
  const key = (await keepSecret(join(folder.root, 'presign-key'), 32)).secret;
  const presigner = createPresigner({ key, baseUrl, clock });
  return {
    database,
    presigner,
    bus: createSqliteBus({ db: database, namespace: 'sluice', clock, log, random: randomBytes }),
    definitions: createSqliteDefinitionStore({ db: database, clock, random: randomBytes }),
    ledger: createSqliteRunLedger({
      db: database,
      clock,
      eventsFor: (run) => [runChangedMessage(run, clock.now())],
      startMessage: (run) => runStartMessage(run),
    }),
    objects: await createFolderObjectStore({
      bucketsRoot: folder.buckets,
      systemRoot: folder.system,
      tempRoot: folder.temp,
      index: createSqliteObjectIndex(database),
      clock,
      log,
      presign: presigner,
    }),
    logs: createFolderRunLogs({ root: folder.logs, clock, maxBytes: config.SLUICE_LOG_LIMIT }),
  };
}

function createExecutor(
  deps: StandaloneDeps,
  stores: Stores,
  scripts: ChildProcessScripts,
  instance: string,
  metrics: Registry,
): Executor {
  const { config, folder, clock, log } = deps;
  const supervisor = createSupervisor({
    objects: stores.objects,
    scripts,
    scriptCacheDir: folder.scripts,
    baseEnv: pickBaseEnvironment(deps.env),
    hostName: hostname(),
    instance,
    clock,
    log,
    metrics,
  });
  return createProcessExecutor({
    perform: supervisor.perform,
    logs: stores.logs,
    workRoot: folder.work,
    capacity: { cpuMillis: Math.round(config.SLUICE_CPU * 1000), memoryBytes: config.SLUICE_MEMORY },
    slots: config.SLUICE_MAX_RUNS,
    clock,
    log,
  });
}

interface Parts {
  readonly stores: Stores;
  readonly executor: Executor;
  readonly metrics: Registry;
  readonly adminPassword: Secret;
}

function createComponents(deps: StandaloneDeps, parts: Parts): Components {
  const { clock, log } = deps;
  const { bus, ledger } = parts.stores;
  const scheduler = composeScheduler(deps, parts);
  return {
    scheduler,
    relay: createOutboxRelay({ ledger, bus, clock, log }),
    storageEvents: composeStorageEvents(deps, parts),
    api: composeApi(deps, parts, () => scheduler.slots().limit),
  };
}

function composeScheduler(deps: StandaloneDeps, { stores, executor, metrics }: Parts): Scheduler {
  const { config, clock, log } = deps;
  const { bus, ledger, definitions, logs } = stores;
  return createScheduler({
    bus,
    ledger,
    definitions,
    logs,
    executor,
    clock,
    log,
    metrics,
    config: {
      maxRuns: config.SLUICE_MAX_RUNS,
      defaultTimeoutMs: config.SLUICE_RUN_TIMEOUT * 1000,
      recordRetentionMs: config.TTL_JOB * 1000,
      marginMs: config.SLUICE_CLAIM_MARGIN * 1000,
      drainMs: config.SLUICE_DRAIN_TIMEOUT * 1000,
      retentionIntervalMs: config.SLUICE_RETENTION_INTERVAL * 1000,
    },
  });
}

function composeStorageEvents(deps: StandaloneDeps, { stores, metrics }: Parts): Component {
  const { config, clock, log, folder } = deps;
  const { bus, ledger, definitions, objects } = stores;
  const storageEvents = storageEventsConfig(config);
  const { settleMs } = storageEvents;
  return createStorageEvents({
    source: createFolderWatcher({ bucketsRoot: folder.buckets, objects, settleMs, clock, log }),
    bus,
    ledger,
    definitions,
    objects,
    clock,
    log,
    metrics,
    config: storageEvents,
  });
}

function composeApi(deps: StandaloneDeps, parts: Parts, slots: () => number): Api {
  const { config, clock, log, folder } = deps;
  const { stores, executor, metrics, adminPassword } = parts;
  const { bus, ledger, definitions, objects, logs, presigner } = stores;
  return createApi({
    config: apiConfig(config, { adminPassword, version, arch: process.arch }),
    bus,
    ledger,
    definitions,
    objects,
    logs,
    presigner,
    clock,
    log,
    metrics,
    capabilities: { warnings: (definition) => executor.ignores(definition), refuse: () => [] },
    installation: () => ({
      adapters: Object.fromEntries(
        adaptersChosen.map((one) => [one.port, { adapter: one.adapter, chosen_by: one.chosenBy }]),
      ),
      slots: slots(),
      bucketsPath: folder.buckets,
    }),
  });
}

/** The listener opens last: whoever gets an answer finds everything behind it working. */
async function startComponents(components: Components): Promise<void> {
  await components.relay.start();
  await components.scheduler.start();
  await components.storageEvents.start();
  await components.api.start();
}

function componentsOf(components: Components | undefined): readonly Component[] {
  if (components === undefined) return [];
  return [components.api, components.storageEvents, components.scheduler, components.relay];
}

function shutdownSteps(
  config: StandaloneConfig,
  state: { components?: Components },
  opened: Opened,
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
      name: 'stores',
      phase: 'connections',
      run: async () => {
        await stop((one) => one.relay);
        await closeStores(opened);
      },
    },
  ];
}

/** What is open before and after the components. */
interface Opened {
  readonly stores: Stores;
  readonly scripts: ChildProcessScripts;
  readonly upkeep: { stop(): Promise<void> };
}

async function closeStores({ stores, scripts, upkeep }: Opened): Promise<void> {
  await upkeep.stop();
  await scripts.stop();
  await stores.objects.close();
  await stores.bus.close();
  await stores.database.close();
}
