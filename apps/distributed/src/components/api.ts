import { apiConfig, createApi, type Api, type Builds, type Installation } from '@sluice/api';
import { ignoredBy, ignoredOnKubernetes } from '@sluice/scheduler';
import type { S3Settings } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { carriedEventBytes, type ClusterState, type ServiceDefinition } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { openAccounts } from '@sluice/standalone/compose';
import { isImageName } from '@sluice/supervisor';
import { listenToClusterState, toNodeFacts, type KnownClusterState } from '../cluster-state.ts';
import { openFindings, type Findings } from '../findings.ts';
import { openNeighbours, type Neighbours } from '../neighbours.ts';
import { openBuilds } from './builder.ts';
import type { ProcessDeps, Started } from '../start.ts';
import { componentVariables, type ApiProcessConfig } from '../variables.ts';
import { version } from '../version.ts';

/** The HTTP front door as a process of its own. */
export async function startApi(config: ApiProcessConfig, deps: ProcessDeps): Promise<Started> {
  const neighbours = await openNeighbours(config, deps, {
    name: 'api',
    ...(config.SLUICE_SECRETS_KEY === undefined ? {} : { secretKeys: config.SLUICE_SECRETS_KEY }),
  });
  const { relay } = neighbours;
  const cluster = await listenToClusterState(neighbours.bus);
  const findings = await openFindings(config, deps, neighbours, {
    component: 'api',
    check: () => api.check(),
  });
  const builds = await openApiBuilds(config, deps, neighbours);
  const api = composeApi(config, deps, neighbours, { cluster, findings, builds });
  await relay.start();
  await api.start();
  findings.announce();
  return {
    // An api whose servers are away still answers, with 503: taking all of them out of service would leave nobody to say so.
    check: async () => {},
    steps: [
      { name: 'findings', phase: 'intake', run: () => findings.stop() },
      { name: 'api', phase: 'intake', run: () => api.stop() },
      {
        name: 'neighbours',
        phase: 'connections',
        run: async () => {
          await cluster.stop();
          await builds?.close();
          await relay.stop();
          await neighbours.close();
        },
      },
    ],
  };
}

function composeApi(
  config: ApiProcessConfig,
  deps: ProcessDeps,
  { bus, ledger, definitions, settings, objects, logs, s3 }: Neighbours,
  {
    cluster,
    findings: { self },
    builds,
  }: {
    readonly cluster: KnownClusterState;
    readonly findings: Findings;
    readonly builds: ApiBuilds | undefined;
  },
): Api {
  return createApi({
    config: apiConfig(
      { ...config, MINIO_ENDPOINT: s3.publicEndpoint.origin },
      { adminPassword: config.OSCAR_PASSWORD ?? new Secret(''), version, arch: process.arch },
    ),
    bus,
    ledger,
    definitions,
    settings,
    objects,
    logs,
    presigner: {
      verify: () => {
        throw new AppError('forbidden', 'Presigned URLs of this installation lead to its S3 server.');
      },
    },
    runnerKey: config.SLUICE_RUNNER_KEY ?? new Secret(''),
    // Larger ones would not survive a ledger that is lost.
    inlineEventBytes: carriedEventBytes,
    ...deps,
    capabilities: {
      warnings: (definition) => warningsOf(cluster.current()?.executor, definition),
      refuse: ({ image }) =>
        isImageName(image)
          ? []
          : [{ field: 'image', message: `${JSON.stringify(image)} is not the name of an image` }],
    },
    ...(builds === undefined ? {} : { builds: builds.builds }),
    checks: {
      self,
      expected: Object.keys(componentVariables).filter((name) => name !== 'builder' || builds !== undefined),
    },
    nodes: async () => toNodeFacts(cluster.current()),
    installation: () => installationOf(s3, cluster.current()),
  });
}

interface ApiBuilds {
  readonly builds: Builds;
  close(): Promise<void>;
}

/** Requests for images, where a registry is named; who makes them is a component of its own. */
async function openApiBuilds(
  config: ApiProcessConfig,
  deps: ProcessDeps,
  neighbours: Neighbours,
): Promise<ApiBuilds | undefined> {
  if (config.REGISTRY_HOST === '') return undefined;
  const accounts = await openAccounts(config, deps.log);
  const parts = await openBuilds(config, deps, neighbours, accounts.logins);
  return { builds: { desk: parts.desk, accounts }, close: () => parts.close() };
}

/** Under which user an image runs is said on the time line, once its registry has been asked. */
function warningsOf(executor: string | undefined, definition: ServiceDefinition): readonly string[] {
  if (executor === 'container') return ignoredBy('container', definition);
  return ignoredOnKubernetes(definition, undefined).filter((one) => one.includes('not used'));
}

function installationOf({ connection }: S3Settings, state: ClusterState | undefined): Installation {
  const nats = { adapter: 'NATS JetStream', chosen_by: 'NATS_URL' };
  return {
    adapters: {
      bus: nats,
      definitions: nats,
      ledger: { adapter: 'Redis', chosen_by: 'REDIS_URL' },
      objects: { adapter: `S3 at ${connection.endpoint.origin}`, chosen_by: 'MINIO_ENDPOINT' },
      executor: {
        adapter: state?.executor ?? 'unknown: no scheduler has been heard yet',
        chosen_by: state?.chosen_by ?? '',
      },
    },
    slots: state?.slots ?? 0,
  };
}
