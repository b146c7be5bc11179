import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  buildLimits,
  builderConfig,
  builderLooks,
  collectionLimitsOf,
  commandEnvironment,
  createBuildDesk,
  createBuilder,
  createCollector,
  createPruner,
  gaugeImageBytes,
  registryCommandsOf,
  requestRules,
  retentionPolicyOf,
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
  createRegistryClient,
  createRegistryPushProbe,
  isPrivateHost,
  openRedis,
  type RedisConnectionOptions,
  type RegistryLogins,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import type { Look } from '@sluice/shared/checks';
import type { PruneReport } from '@sluice/shared/contracts';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import type { BuildDesk, DefinitionStore, RunLogs } from '@sluice/shared/stores';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';

export interface BuildsDeps {
  readonly values: BuildDeskValues & CleanUpConfig;
  readonly redis: RedisConnectionOptions;
  readonly definitions: Pick<DefinitionStore, 'list'>;
  /** Of builds, apart from those of runs. */
  readonly logs: RunLogs;
  /** All logins that there are, for retention. */
  readonly logins: () => Promise<readonly string[]>;
  readonly metrics: Registry;
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

/** Clients of registries to be closed at the end; the first is the installation's. */
const maxClients = 200;

/** Everything of builds that needs no BuildKit: any process may take requests. */
export async function composeBuilds(deps: BuildsDeps): Promise<BuildsParts> {
  const { values, clock, definitions, logs } = deps;
  const redis = await openRedis(deps.redis);
  const store = createRedisBuildStore({ redis, clock });
  const queue = createBullBuildQueue({
    connection: deps.redis,
    attempts: values.SLUICE_BUILD_ATTEMPTS,
  });
  const clients: { close(): Promise<void> }[] = [];
  const open = (logins: RegistryLogins) => {
    const client = createRegistryClient({ ...registryOptions(values), logins, clock });
    // Those beyond are of accounts that were dropped for others (`createRegistries`): their connections are closed when they have been idle.
    if (clients.length >= maxClients) clients.splice(1, 1);
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
      rules: requestRules(values, isPrivateHost),
      limits: buildLimits(values),
      catalogue: values.SLUICE_BUILDERS,
      toolImage: values.SLUICE_BUILD_MAVEN_IMAGE,
      prune,
      uses,
      metrics: deps.metrics,
      collection,
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
  { values, definitions, logins, clock, log, metrics }: BuildsDeps,
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
    measured: gaugeImageBytes(
      metrics,
      clock,
      2 * (values.SLUICE_IMAGE_PRUNE_INTERVAL + values.SLUICE_IMAGE_PRUNE_TIMEOUT) * 1000,
    ),
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
  readonly tracer: Tracer;
  /** Whoever runs the registry, where no commands do; undefined: nobody. */
  readonly keeper?: RegistryKeeper | undefined;
  /** Folder for the files of builds under way. */
  readonly tmpRoot: string;
  readonly graceMs: number;
}

/** What makes images and looks after the registry, and what it finds of itself. */
export interface BuilderParts {
  readonly builder: Component;
  readonly looks: readonly Look[];
}

export function composeBuilder(parts: BuildsParts, worker: WorkerDeps): BuilderParts {
  const { values } = worker;
  const { redis, clock, log, values: desk, logs } = parts.deps;
  const probe = openProbe(desk, clock);
  const collector = composeCollector(parts, worker, probe);
  const buildctl = composeBuildctl(parts.deps, worker);
  const tasks = {
    retain: async (signal: AbortSignal) => void (await parts.pruner.prune({ dryRun: false, signal })),
    collect: async (signal: AbortSignal) => void (await collector.collect(signal)),
  };
  const every = (seconds: number) => (seconds === 0 ? undefined : seconds * 1000);
  const collects = isCollected(desk);
  const builder = createBuilder({
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
    builder: buildctl,
    environmentOf: worker.environmentOf,
    logs,
    bus: worker.bus,
    limits: buildLimits(desk),
    clock,
    log,
    metrics: worker.metrics,
    tracer: worker.tracer,
    config: builderConfig(values, worker.graceMs),
  });
  const looks = builderLooks({ ...parts, ...probe, builder: buildctl, registry: desk.REGISTRY_HOST, clock });
  return { builder, looks };
}

function composeBuildctl({ values: desk, clock, log }: BuildsDeps, { values, env, tmpRoot }: WorkerDeps) {
  return createBuildctl({
    host: values.BUILDKIT_HOST,
    tls: buildkitTls(values),
    env: commandEnvironment(env),
    tmpRoot: join(tmpRoot, 'builds'),
    insecureRegistries: desk.SLUICE_REGISTRY_INSECURE,
    clock,
    log,
  });
}

/** Asks the registry itself. Its connections are closed when they have been idle. */
function openProbe(values: BuildDeskValues, clock: Clock) {
  const { host, login } = registryPlace(values);
  const repository = `${host}/probe`;
  const logins: RegistryLogins = async (registry) =>
    login === undefined || registry !== host ? undefined : { ...login, serveraddress: host };
  const options = { ...registryOptions(values), logins, clock };
  const client = createRegistryClient(options);
  return {
    probe: createRegistryPushProbe({ ...options, repository }),
    deleteNothing: async () => client.deleteManifest(`${repository}@sha256:${'0'.repeat(64)}`),
  };
}

function composeCollector(
  { queue, pruner, collection, deps: { values, clock, log } }: BuildsParts,
  { env, keeper }: Pick<WorkerDeps, 'env' | 'keeper'>,
  { probe }: Pick<ReturnType<typeof openProbe>, 'probe'>,
) {
  const commands = registryCommandsOf(values);
  return createCollector({
    queue,
    keeper:
      commands === undefined
        ? keeper
        : createCommandRegistryKeeper({ ...commands, env: commandEnvironment(env), clock }),
    probe,
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
