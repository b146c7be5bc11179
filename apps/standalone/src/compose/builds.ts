import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { accountsSource, type apiVariables, type Builds } from '@sluice/api';
import { createFileAccounts, type FileAccounts } from '@sluice/api/adapters';
import {
  buildLimits,
  builderConfig,
  collectionLimitsOf,
  commandEnvironment,
  createBuildDesk,
  createBuilder,
  createCollector,
  createPruner,
  registryCommandsOf,
  requestRules,
  retentionPolicyOf,
  type BuildDesk,
  type BuildDeskValues,
  type BuilderValues,
  type BuildQueue,
  type BuildStore,
  type CleanUpConfig,
  type EnvironmentOf,
  type ImageUses,
  type Pruner,
  type Registries,
  type RegistryKeeper,
  type Schedules,
} from '@sluice/builder';
import {
  createBuildctl,
  createBullBuildQueue,
  createBullBuildWorkers,
  createCommandRegistryKeeper,
  createImageRegistry,
  createRedisBuildStore,
  createRedisCollectionState,
  createRedisImageUses,
  createRegistries,
} from '@sluice/builder/adapters';
import {
  createFolderRunLogs,
  createRegistryClient,
  createRegistryPushProbe,
  openRedis,
  type RedisConnectionOptions,
  type RegistryLogins,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import type { ConfigOf, Secret } from '@sluice/shared/config';
import type { PruneReport } from '@sluice/shared/contracts';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLogs } from '@sluice/shared/stores';
import type { Logger, Registry } from '@sluice/shared/telemetry';
import type { DataFolder } from '../data-folder.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';
import type { StoresParts } from './stores.ts';

export interface BuildsDeps {
  readonly values: BuildDeskValues & CleanUpConfig;
  readonly redis: RedisConnectionOptions;
  /** Tries of a build, where they are another number than the queue's own. */
  readonly attempts?: number;
  readonly definitions: Pick<DefinitionStore, 'list'>;
  /** Of builds, apart from those of runs. */
  readonly logs: RunLogs;
  /** All logins that there are, for retention. */
  readonly logins: () => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What requests for images and those who make them work with. */
export interface BuildsParts {
  readonly desk: BuildDesk;
  readonly store: BuildStore;
  readonly queue: BuildQueue & Schedules;
  readonly registries: Registries;
  readonly uses: ImageUses;
  readonly pruner: Pruner;
  readonly deps: BuildsDeps;
  readonly collection: ReturnType<typeof createRedisCollectionState>;
  close(): Promise<void>;
}

/** Everything of builds that needs no BuildKit: any process may take requests. */
export async function composeBuilds(deps: BuildsDeps): Promise<BuildsParts> {
  const { values, clock, definitions, logs } = deps;
  const redis = await openRedis(deps.redis);
  const store = createRedisBuildStore({ redis, clock });
  const queue = createBullBuildQueue({
    connection: deps.redis,
    ...(deps.attempts === undefined ? {} : { attempts: deps.attempts }),
  });
  const clients: { close(): Promise<void> }[] = [];
  const open = (logins: RegistryLogins) => {
    const client = createRegistryClient({ ...registryOptions(values), logins, clock });
    clients.push(client);
    return createImageRegistry({ client });
  };
  const registries = createRegistries({ ...registryPlace(values), open });
  const uses = createRedisImageUses(redis);
  const pruner = composePruner(deps, { store, uses, registries });
  const collection = createRedisCollectionState(redis);
  const prune = async ({ dryRun }: { readonly dryRun: boolean }): Promise<PruneReport> => {
    const report = await pruner.prune({ dryRun });
    if (dryRun || !isCollected(values)) return report;
    await queue.once('collect');
    return { ...report, collection: { state: 'scheduled' } };
  };
  return {
    desk: createBuildDesk({
      store,
      queue,
      registries,
      definitions,
      logs,
      rules: requestRules(values),
      limits: buildLimits(values),
      catalogue: values.SLUICE_BUILDERS,
      toolImage: values.SLUICE_BUILD_MAVEN_IMAGE,
      prune,
      uses,
      clock,
    }),
    store,
    queue,
    registries,
    uses,
    pruner,
    deps,
    collection,
    close: async () => {
      await queue.close();
      await Promise.allSettled(clients.map((client) => client.close()));
      await redis.close();
    },
  };
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

function registryOptions(values: BuildDeskValues) {
  return {
    insecure: values.SLUICE_REGISTRY_INSECURE,
    mirrors: Object.fromEntries(values.SLUICE_REGISTRY_MIRRORS),
    ca: values.SLUICE_REGISTRY_CA === '' ? undefined : values.SLUICE_REGISTRY_CA,
    platform: { os: 'linux', architecture: architectures[process.arch] ?? process.arch },
  };
}

function registryPlace(values: BuildDeskValues) {
  const { REGISTRY_HOST: host, SLUICE_REGISTRY_USER: username, SLUICE_REGISTRY_PASSWORD: password } = values;
  return {
    host,
    pullHost: values.SLUICE_REGISTRY_PULL_HOST || host,
    login: password === undefined ? undefined : { username, password: password.reveal() },
  };
}

function composePruner(
  { values, definitions, logins, clock, log }: BuildsDeps,
  { store, uses, registries }: Pick<BuildsParts, 'store' | 'uses' | 'registries'>,
): Pruner {
  const { host, pullHost } = registryPlace(values);
  const unused = values.SLUICE_CACHE_UNUSED;
  return createPruner({
    definitions,
    builds: store,
    hosts: [...new Set([host, pullHost])],
    // Whoever it is: all images lie in the installation's own registry.
    registry: registries.of({ login: 'library', env: {} }).images,
    uses,
    logins,
    pushHost: host,
    policy: retentionPolicyOf(values),
    cacheUnusedMs: unused === 0 ? undefined : unused * 1000,
    roundMs: values.SLUICE_IMAGE_PRUNE_TIMEOUT * 1000,
    clock,
    log,
  });
}

export interface WorkerDeps {
  readonly values: BuilderValues;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly environmentOf: EnvironmentOf;
  readonly bus: Pick<Bus, 'publish'>;
  readonly metrics: Registry;
  /** Whoever runs the registry, where no commands do; undefined: nobody. */
  readonly keeper?: RegistryKeeper | undefined;
  /** Folder for the files of builds under way. */
  readonly tmpRoot: string;
  readonly graceMs: number;
}

/** What makes images and looks after the registry. */
export function composeBuilder(parts: BuildsParts, worker: WorkerDeps): Component {
  const { values, env } = worker;
  const { redis, clock, log, values: desk, logs } = parts.deps;
  const collector = composeCollector(parts, worker);
  const tasks = {
    retain: async (signal: AbortSignal) => void (await parts.pruner.prune({ dryRun: false, signal })),
    collect: async (signal: AbortSignal) => void (await collector.collect(signal)),
  };
  const every = (seconds: number) => (seconds === 0 ? undefined : seconds * 1000);
  const collects = isCollected(desk);
  return createBuilder({
    ...parts,
    schedules: parts.queue,
    workers: createBullBuildWorkers({
      connection: redis,
      concurrency: values.SLUICE_BUILD_CONCURRENCY,
      tasks,
    }),
    tasks: {
      retain: { everyMs: every(desk.SLUICE_IMAGE_PRUNE_INTERVAL) },
      collect: { everyMs: collects ? every(desk.SLUICE_REGISTRY_COLLECT_INTERVAL) : undefined },
    },
    recover: async (signal) => collector.recover(signal),
    builder: createBuildctl({
      host: values.BUILDKIT_HOST,
      tls: buildkitTls(values),
      env: commandEnvironment(env),
      tmpRoot: join(worker.tmpRoot, 'builds'),
      insecureRegistries: desk.SLUICE_REGISTRY_INSECURE,
      clock,
      log,
    }),
    environmentOf: worker.environmentOf,
    logs,
    bus: worker.bus,
    limits: buildLimits(desk),
    clock,
    log,
    metrics: worker.metrics,
    config: builderConfig(values, worker.graceMs),
  });
}

function composeCollector(
  { queue, pruner, collection, deps: { values, clock, log } }: BuildsParts,
  { env, keeper }: Pick<WorkerDeps, 'env' | 'keeper'>,
) {
  const commands = registryCommandsOf(values);
  const { host, login } = registryPlace(values);
  const logins: RegistryLogins = async () =>
    login === undefined ? undefined : { ...login, serveraddress: host };
  return createCollector({
    queue,
    keeper:
      commands === undefined
        ? keeper
        : createCommandRegistryKeeper({ ...commands, env: commandEnvironment(env), clock }),
    probe: createRegistryPushProbe({
      ...registryOptions(values),
      repository: `${host}/probe`,
      logins,
      clock,
    }),
    state: collection,
    protect: pruner.protect,
    limits: collectionLimitsOf(values),
    clock,
    random: { hex: (bytes) => randomBytes(bytes).toString('hex') },
    log,
  });
}

function isCollected(values: CleanUpConfig): boolean {
  return registryCommandsOf(values) !== undefined || values.SLUICE_REGISTRY_WORKLOAD !== undefined;
}

function buildkitTls({ BUILDKIT_CA: ca, BUILDKIT_CERT: cert, BUILDKIT_KEY: key }: BuilderValues) {
  return ca === '' || key === undefined ? undefined : { ca, cert, key };
}

/** What of builds a standalone server has: all, or nothing and the reason. */
export interface StandaloneBuilds {
  readonly choice: AdapterChoice;
  readonly builds: Builds | undefined;
  readonly builder: Component | undefined;
  close(): Promise<void>;
}

export interface StandaloneBuildsDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stores: Pick<StoresParts, 'definitions' | 'bus'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/**
 * The builder of a standalone server, on when its servers are named.
 * @throws ConfigError for accounts that cannot be read
 */
export async function composeStandaloneBuilds(deps: StandaloneBuildsDeps): Promise<StandaloneBuilds> {
  const { config, folder, env, clock, log } = deps;
  const { REDIS_URL: url } = config;
  const missing = ['REDIS_URL', 'BUILDKIT_HOST', 'REGISTRY_HOST'].filter((name) =>
    name === 'REDIS_URL' ? url === undefined : config[name as 'BUILDKIT_HOST'] === '',
  );
  if (url === undefined || missing.length > 0) {
    const chosenBy = `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not set`;
    return {
      choice: { port: 'builds', adapter: 'none', chosenBy },
      builds: undefined,
      builder: undefined,
      close: async () => {},
    };
  }
  const accounts = await openAccounts(config, log);
  const parts = await composeBuilds({
    values: config,
    redis: redisOf(config, url, { clock, log }),
    attempts: config.SLUICE_BUILD_ATTEMPTS,
    definitions: deps.stores.definitions,
    logs: createFolderRunLogs({
      root: folder.buildLogs,
      clock,
      maxBytes: config.SLUICE_BUILD_LOG_LIMIT,
    }),
    logins: accounts.logins,
    clock,
    log,
  });
  return {
    choice: {
      port: 'builds',
      adapter: `BuildKit at ${config.BUILDKIT_HOST}, images in ${config.REGISTRY_HOST}`,
      chosenBy: 'BUILDKIT_HOST, REGISTRY_HOST and REDIS_URL',
    },
    builds: { desk: parts.desk, accounts },
    builder: composeBuilder(parts, {
      values: config,
      env,
      environmentOf: accounts.environmentOf,
      bus: deps.stores.bus,
      metrics: deps.metrics,
      tmpRoot: folder.work,
      graceMs: config.SLUICE_DRAIN_TIMEOUT * 1000,
    }),
    close: () => parts.close(),
  };
}

/** Accounts beside the administrator's, who builds under the name that opens all else. */
export async function openAccounts(
  config: Pick<ConfigOf<typeof apiVariables>, 'SLUICE_ACCOUNTS' | 'SLUICE_ACCOUNTS_FILE' | 'OSCAR_USERNAME'>,
  log: Logger,
): Promise<FileAccounts> {
  return createFileAccounts({
    source: accountsSource(config),
    reserved: new Set([config.OSCAR_USERNAME.toLowerCase()]),
    log,
  });
}

function redisOf(
  { REDIS_CA: ca, SLUICE_NAMESPACE: namespace }: StandaloneConfig,
  url: Secret,
  deps: Pick<StandaloneBuildsDeps, 'clock' | 'log'>,
): RedisConnectionOptions {
  return { url, ca: ca === '' ? undefined : ca, namespace, name: 'sluice-builds', ...deps };
}
