import { apiConfig, createApi, type Api } from '@sluice/api';
import { createScheduler, type Scheduler } from '@sluice/scheduler';
import { createOutboxRelay } from '@sluice/shared/bus';
import type { Secret } from '@sluice/shared/config';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import { createStorageEvents, storageEventsConfig } from '@sluice/storage-events';
import { version } from '../version.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';
import type { ExecutionParts } from './execution.ts';
import type { StandaloneBuilds } from './standalone-builds.ts';
import type { ObjectsParts } from './objects.ts';
import type { StoresParts } from './stores.ts';

export interface ComponentsDeps {
  readonly config: StandaloneConfig;
  readonly stores: StoresParts;
  readonly objects: ObjectsParts;
  readonly execution: ExecutionParts;
  readonly builds: StandaloneBuilds;
  readonly choices: readonly AdapterChoice[];
  readonly adminPassword: Secret;
  /** What the tokens of runners are made from. */
  readonly runnerKey: Secret;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
}

/** What runs once the password is known. */
export interface Components {
  readonly api: Api;
  readonly scheduler: Scheduler;
  readonly storageEvents: Component;
  /** Where images are built. */
  readonly builder: Component | undefined;
  readonly relay: Component;
}

export function composeComponents(deps: ComponentsDeps): Components {
  const { clock, log } = deps;
  const { bus, ledger } = deps.stores;
  const scheduler = composeScheduler(deps);
  return {
    scheduler,
    relay: createOutboxRelay({ ledger, bus, clock, log }),
    storageEvents: composeStorageEvents(deps),
    builder: deps.builds.builder,
    api: composeApi(deps, () => scheduler.slots().limit),
  };
}

/** The listener opens last: whoever gets an answer finds everything behind it working. */
export async function startComponents(components: Components): Promise<void> {
  await components.relay.start();
  await components.scheduler.start();
  await components.storageEvents.start();
  await components.builder?.start();
  await components.api.start();
}

function composeScheduler({
  config,
  stores,
  objects,
  execution,
  clock,
  log,
  metrics,
  tracer,
}: ComponentsDeps): Scheduler {
  const { bus, ledger, definitions, logs } = stores;
  return createScheduler({
    bus,
    ledger,
    definitions,
    logs,
    executor: execution.executor,
    runners: execution.runners,
    ...(stores.recovery === undefined ? {} : { recovery: stores.recovery, objects: objects.objects }),
    clock,
    log,
    metrics,
    tracer,
    config: {
      maxRuns: config.SLUICE_MAX_RUNS,
      defaultTimeoutMs: config.SLUICE_RUN_TIMEOUT * 1000,
      runnerIdleMs: config.SLUICE_RUNNER_IDLE * 1000,
      recordRetentionMs: config.TTL_JOB * 1000,
      marginMs: config.SLUICE_CLAIM_MARGIN * 1000,
      drainMs: config.SLUICE_DRAIN_TIMEOUT * 1000,
      retentionIntervalMs: config.SLUICE_RETENTION_INTERVAL * 1000,
    },
  });
}

function composeStorageEvents({
  config,
  stores,
  objects,
  clock,
  log,
  metrics,
  tracer,
}: ComponentsDeps): Component {
  const { bus, ledger, definitions } = stores;
  const storageEvents = storageEventsConfig(config);
  return createStorageEvents({
    source: objects.createSource(storageEvents.settleMs),
    bus,
    ledger,
    definitions,
    objects: objects.objects,
    clock,
    log,
    metrics,
    tracer,
    config: objects.settles ? storageEvents : { ...storageEvents, settleMs: 0 },
  });
}

function composeApi(deps: ComponentsDeps, slots: () => number): Api {
  const { config, stores, objects, execution, choices, clock, log, metrics, tracer } = deps;
  const { bus, ledger, definitions, logs, settings } = stores;
  return createApi({
    config: apiConfig(withPublicS3(config), {
      adminPassword: deps.adminPassword,
      version,
      arch: process.arch,
    }),
    bus,
    ledger,
    definitions,
    objects: objects.objects,
    logs,
    settings,
    presigner: objects.presigner,
    runnerKey: deps.runnerKey,
    ...(deps.builds.builds === undefined ? {} : { builds: deps.builds.builds }),
    looks: deps.builds.looks,
    clock,
    log,
    metrics,
    tracer,
    capabilities: {
      warnings: (definition) => execution.executor.ignores(definition),
      refuse: (definition) => execution.refuse(definition),
    },
    nodes: async () => [await execution.machine()],
    installation: () => ({
      adapters: Object.fromEntries(
        choices.map((one) => [one.port, { adapter: one.adapter, chosen_by: one.chosenBy }]),
      ),
      slots: slots(),
      ...(objects.bucketsPath === undefined ? {} : { bucketsPath: objects.bucketsPath }),
    }),
  });
}

/** Clients are told the address by which they reach the S3 server. */
function withPublicS3(config: StandaloneConfig): StandaloneConfig {
  const { MINIO_PUBLIC_ENDPOINT: outside } = config;
  return outside === '' ? config : { ...config, MINIO_ENDPOINT: outside };
}
