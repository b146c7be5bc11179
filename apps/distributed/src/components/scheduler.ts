import { createAttemptsServer, createScheduler, type Scheduler } from '@sluice/scheduler';
import { Secret } from '@sluice/shared/config';
import type { ClusterState } from '@sluice/shared/contracts';
import type { Component, ShutdownStep } from '@sluice/shared/lifecycle';
import { createObjectUpkeep } from '@sluice/shared/stores';
import { announceClusterState } from '../cluster-state.ts';
import { openFindings } from '../findings.ts';
import { openNeighbours, type Neighbours } from '../neighbours.ts';
import { openContainerPlace } from '../places/containers.ts';
import { openKubernetesPlace } from '../places/kubernetes.ts';
import type { Place } from '../places/place.ts';
import type { ProcessDeps, Started } from '../start.ts';
import type { SchedulerProcessConfig } from '../variables.ts';

/** Run commands in, attempts out, as a process of its own. */
export async function startScheduler(config: SchedulerProcessConfig, deps: ProcessDeps): Promise<Started> {
  const neighbours = await openNeighbours(config, deps, {
    name: 'scheduler',
    ...(config.SLUICE_SECRETS_KEY === undefined ? {} : { secretKeys: config.SLUICE_SECRETS_KEY }),
  });
  const place = await openPlace(config, deps, neighbours);
  const scheduler = composeScheduler(config, deps, neighbours, place);
  const working: Component[] = [neighbours.relay, scheduler, ...composeDesk(config, deps, scheduler, place)];
  for (const component of working) await component.start();
  const background = startBackground(config, deps, neighbours, scheduler, place);
  const check = async (): Promise<void> => {
    await Promise.all([...working.map((component) => component.check()), place.check()]);
  };
  const findings = await openFindings(config, deps, neighbours, {
    component: 'scheduler',
    check,
    looks: place.looks,
  });
  findings.announce();
  return {
    check,
    steps: shutdownSteps(config, { working, background: [...background, findings], neighbours, place }),
  };
}

async function openPlace(
  config: SchedulerProcessConfig,
  deps: ProcessDeps,
  neighbours: Neighbours,
): Promise<Place> {
  try {
    return config.DOCKER_HOST === undefined
      ? await openKubernetesPlace(config, deps, neighbours)
      : await openContainerPlace(config, deps, neighbours);
  } catch (error) {
    await neighbours.close();
    throw error;
  }
}

function composeScheduler(
  config: SchedulerProcessConfig,
  deps: ProcessDeps,
  { bus, ledger, definitions, logs, leases, objects }: Neighbours,
  place: Place,
): Scheduler {
  return createScheduler({
    bus,
    ledger,
    definitions,
    logs,
    leases,
    objects,
    recovery: ledger,
    executor: place.executor,
    runners: place.runners,
    ...(place.pods === undefined ? {} : { pods: place.pods }),
    ...deps,
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

/** Where pods ask for their work; a container engine has no use for it. */
function composeDesk(
  config: SchedulerProcessConfig,
  { clock, log, metrics }: ProcessDeps,
  scheduler: Scheduler,
  place: Place,
): readonly Component[] {
  if (place.pods === undefined) return [];
  const server = createAttemptsServer({
    desk: scheduler.desk,
    tokenKey: config.SLUICE_RUNNER_KEY ?? new Secret(''),
    host: config.SLUICE_SCHEDULER_HOST,
    port: config.SLUICE_SCHEDULER_PORT,
    clock,
    log,
    metrics,
  });
  return [{ name: 'attempts-server', ...server, check: async () => {} }];
}

function startBackground(
  config: SchedulerProcessConfig,
  { clock, log }: ProcessDeps,
  { bus, objects, definitions, leases }: Neighbours,
  scheduler: Scheduler,
  place: Place,
): readonly { stop(): Promise<void> }[] {
  const read = async (): Promise<ClusterState> => ({
    slots: scheduler.slots().limit,
    executor: place.executor.kind,
    chosen_by: place.chosenBy,
    ...(await place.describe()),
  });
  const reencrypt = async (): Promise<void> => {
    if (!(await leases.hold('scheduler-reencrypt', 60_000))) return;
    const records = await definitions.reencrypt();
    if (records > 0) log.info({ records }, 'secrets were encrypted with the newest key');
  };
  reencrypt().catch((error: unknown) => {
    log.error({ err: error }, 'secrets cannot be encrypted with the newest key');
  });
  return [
    announceClusterState({ bus, read, clock, log }),
    createObjectUpkeep({ objects, recordsMs: config.TTL_JOB * 1000, clock, log }),
  ];
}

function shutdownSteps(
  config: SchedulerProcessConfig,
  parts: {
    readonly working: readonly Component[];
    readonly background: readonly { stop(): Promise<void> }[];
    readonly neighbours: Neighbours;
    readonly place: Place;
  },
): readonly ShutdownStep[] {
  const [relay, scheduler, ...desk] = parts.working;
  return [
    {
      name: 'background',
      phase: 'intake',
      run: async () => {
        await Promise.all(parts.background.map((one) => one.stop()));
      },
    },
    {
      name: 'scheduler',
      phase: 'work',
      timeoutMs: config.SLUICE_DRAIN_TIMEOUT * 1000 + 20_000,
      run: async () => scheduler?.stop(),
    },
    {
      name: 'connections',
      phase: 'connections',
      run: async () => {
        // Pods are heard to the end: what they report to is another replica, or this one until here.
        await Promise.all(desk.map((one) => one.stop()));
        await relay?.stop();
        await parts.place.close();
        await parts.neighbours.close();
      },
    },
  ];
}
