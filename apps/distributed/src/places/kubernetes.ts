import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import {
  createKubeCluster,
  createKubeConnection,
  createKubeExecutor,
  createKubeRunners,
  createS3Grants,
  loadKubeTarget,
  openKubeLooks,
  type KubeCluster,
  type KubeConnection,
  type KubeLooks,
  type KubeTarget,
} from '@sluice/scheduler/adapters';
import { createOutcomes, type StorageGrants } from '@sluice/scheduler';
import {
  assumeRoleLook,
  createAssumeRole,
  createImageFactsCache,
  createRegistryClient,
  createRegistryLogins,
  type RegistryClient,
} from '@sluice/shared/adapters';
import { ConfigError, Secret } from '@sluice/shared/config';
import { activeStates, type AttemptRef, type ClusterState } from '@sluice/shared/contracts';
import { messageOf } from '@sluice/shared/errors';
import { SYSTEM_BUCKET, type RunLedger } from '@sluice/shared/stores';
import { toClusterNodes } from '../cluster-state.ts';
import type { Neighbours } from '../neighbours.ts';
import type { ProcessDeps } from '../start.ts';
import type { SchedulerProcessConfig } from '../variables.ts';
import type { Place } from './place.ts';

/** From 0 to 1. */
const randomShare = (): number => randomInt(2 ** 32) / 2 ** 32;

/** What both adapters of a cluster share. */
interface Cluster {
  readonly target: KubeTarget;
  readonly connection: KubeConnection;
  readonly cluster: KubeCluster;
  readonly registry: RegistryClient;
}

/** Jobs and warm pods of a Kubernetes cluster, known to every replica. */
export async function openKubernetesPlace(
  config: SchedulerProcessConfig,
  deps: ProcessDeps,
  neighbours: Neighbours,
): Promise<Place> {
  checkVariables(config);
  const parts = await openCluster(config, deps);
  const { executor, runners } = composePods(config, deps, neighbours, parts);
  const version = await parts.cluster.version();
  const looks = await openLooks(config, deps, neighbours, parts);
  return {
    chosenBy: config.KUBECONFIG === '' ? 'the cluster of this pod' : 'KUBECONFIG',
    executor,
    runners,
    pods: {
      runnerKey: config.SLUICE_RUNNER_KEY ?? new Secret(''),
      grants: composeGrants(config, deps, neighbours),
      limits: {
        attempts: { output_bytes: config.SLUICE_OUTPUT_LIMIT, log_bytes: config.SLUICE_LOG_LIMIT },
        runners: {
          output_bytes: config.SLUICE_OUTPUT_LIMIT,
          body_bytes: config.SLUICE_BODY_LIMIT,
          response_bytes: config.SLUICE_CALL_RESPONSE_LIMIT,
        },
      },
    },
    describe: async () => ({ kubernetes_version: version, nodes: await nodesOf(parts.cluster, deps) }),
    looks: looks.looks,
    check: () => parts.connection.check(),
    close: async () => {
      const { connection, cluster, registry } = parts;
      await Promise.all([looks.close(), connection.close(), cluster.close(), registry.close()]);
    },
  };
}

function checkVariables(config: SchedulerProcessConfig): void {
  const wanted = {
    SLUICE_SUPERVISOR_IMAGE: 'the image of deploy/docker/supervisor.Dockerfile',
    SLUICE_SCHEDULER_URL: 'the address of this process as pods reach it',
  } as const;
  const faults = (Object.keys(wanted) as (keyof typeof wanted)[])
    .filter((variable) => config[variable] === '')
    .map((variable) => ({ variable, message: `is missing; give ${wanted[variable]}` }));
  if (faults.length > 0) throw new ConfigError(faults);
}

/** The cluster as it is for the scheduler, and whether the S3 server makes keys for pods. */
async function openLooks(
  config: SchedulerProcessConfig,
  { clock }: ProcessDeps,
  { s3 }: Neighbours,
  { target, registry }: Cluster,
): Promise<KubeLooks> {
  const kube = await openKubeLooks({
    target,
    namespace: config.OSCAR_SERVICES_NAMESPACE,
    supervisorImage: config.SLUICE_SUPERVISOR_IMAGE,
    imageFacts: (image) => registry.imageFacts(image),
    clock,
  });
  // Pods that are given keys of their own need no others.
  if (config.SLUICE_POD_S3_ACCESS_KEY !== undefined) return kube;
  const ask = createAssumeRole({ connection: s3.connection, clock });
  const assumeRole = () => ask({ policy: trialPolicy, durationSeconds: config.SLUICE_POD_S3_DURATION });
  return { ...kube, looks: [...kube.looks, assumeRoleLook({ assumeRole, clock })] };
}

/** For keys that nobody uses: they may do next to nothing. */
const trialPolicy = JSON.stringify({
  Version: '2012-10-17',
  Statement: [
    { Effect: 'Allow', Action: ['s3:GetObject'], Resource: [`arn:aws:s3:::${SYSTEM_BUCKET}/none`] },
  ],
});

async function openCluster(
  config: SchedulerProcessConfig,
  { clock, env, metrics }: ProcessDeps,
): Promise<Cluster> {
  const target = await loadKubeTarget(config.KUBECONFIG === '' ? undefined : config.KUBECONFIG);
  const loginsDir = config.DOCKER_CONFIG ?? join(env['HOME'] ?? '/', '.docker');
  return {
    target,
    connection: await createKubeConnection({
      target,
      namespace: config.OSCAR_SERVICES_NAMESPACE,
      clock,
      random: randomShare,
      metrics,
    }),
    cluster: await createKubeCluster(target),
    registry: createRegistryClient({
      logins: createRegistryLogins(loginsDir),
      insecure: config.SLUICE_INSECURE_REGISTRIES.split(',').filter((one) => one !== ''),
      platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch },
      clock,
    }),
  };
}

function composePods(
  config: SchedulerProcessConfig,
  { clock, log }: ProcessDeps,
  { ledger, leases, objects }: Neighbours,
  { connection, registry }: Cluster,
): Pick<Place, 'executor' | 'runners'> {
  const key = config.SLUICE_RUNNER_KEY ?? new Secret('');
  const look = createImageFactsCache({ client: registry, clock });
  // What cannot be looked up is not known; the pod tells what is wrong with the image.
  const imageFacts = (image: string) => look(image).catch(() => undefined);
  const settings = {
    instance: config.SLUICE_NAMESPACE,
    supervisorImage: config.SLUICE_SUPERVISOR_IMAGE,
    schedulerUrl: config.SLUICE_SCHEDULER_URL,
    ttlSeconds: config.SLUICE_JOB_TTL,
    diskBytes: config.SLUICE_POD_DISK,
  };
  const outcomes = createOutcomes(objects, log);
  const common = { connection, settings, imageFacts, clock, log, random: randomShare };
  return {
    executor: createKubeExecutor({
      ...common,
      slots: config.SLUICE_MAX_RUNS,
      maxPending: config.SLUICE_MAX_PENDING,
      tokenKey: key,
      leases,
      note: (ref, message) => ledger.note(ref.run_id, ref.attempt, message),
      standingOf: (ref) => standingOf(ledger, ref),
      readOutcome: (ref) => outcomes.read({ ...ref, runId: ref.run_id }),
    }),
    runners: createKubeRunners({ ...common, limit: config.SLUICE_MAX_RUNNERS, key }),
  };
}

async function standingOf(
  ledger: Pick<RunLedger, 'get'>,
  ref: AttemptRef,
): Promise<'starting' | 'running' | 'over' | 'unknown'> {
  const run = await ledger.get(ref.run_id);
  if (run === undefined) return 'unknown';
  const state = activeStates.find((one) => one === run.state);
  return run.attempt === ref.attempt && state !== undefined ? state : 'over';
}

function composeGrants(
  config: SchedulerProcessConfig,
  { clock }: ProcessDeps,
  { s3 }: Neighbours,
): StorageGrants {
  const { SLUICE_POD_S3_ACCESS_KEY: accessKey, SLUICE_POD_S3_SECRET_KEY: secretKey } = config;
  const outside = config.SLUICE_POD_MINIO_ENDPOINT;
  return createS3Grants({
    connection: s3.connection,
    podEndpoint: outside === '' ? s3.connection.endpoint : new URL(outside),
    ...(accessKey === undefined || secretKey === undefined ? {} : { staticKeys: { accessKey, secretKey } }),
    durationSeconds: config.SLUICE_POD_S3_DURATION,
    clock,
  });
}

async function nodesOf(cluster: KubeCluster, { log }: ProcessDeps): Promise<ClusterState['nodes']> {
  try {
    const nodes = await cluster.nodes();
    return toClusterNodes(
      nodes.map(({ cpuMillis, memoryBytes, ...node }) => ({
        ...node,
        // Who uses how much is the metrics server's to say, and is not asked.
        cpuMillis: { capacity: cpuMillis, used: 0, requested: 0 },
        memoryBytes: { capacity: memoryBytes, used: 0, requested: 0 },
      })),
    );
  } catch (error) {
    log.debug({ reason: messageOf(error) }, 'nodes cannot be listed');
    return [];
  }
}
