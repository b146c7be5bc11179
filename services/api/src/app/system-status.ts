import { runStates } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import { Type, type Static } from 'typebox';
import { kubeTime } from '../domain/job-list.ts';
import type { NodeFacts } from '../ports.ts';
import type { ObjectCount } from './object-count.ts';

/** Thousandths of a core, whatever the names say (OSCAR §1.11). */
const cpu = {
  total_free_cores: Type.Integer(),
  max_free_on_node_cores: Type.Integer(),
  total_schedulable_cores: Type.Integer(),
  /** The most on one node; OSCAR's name says otherwise. */
  total_schedulable_on_node_cores: Type.Integer(),
};
const memory = {
  total_free_bytes: Type.Integer(),
  max_free_on_node_bytes: Type.Integer(),
  total_schedulable_bytes: Type.Integer(),
  max_schedulable_on_node_bytes: Type.Integer(),
};
const optional = Type.Optional(Type.Integer());

/** OSCAR §1.11. Property order is emission order. */
export const SystemStatus = Type.Object({
  cluster: Type.Object({
    nodes_count: Type.Integer(),
    metrics: Type.Object({
      cpu: Type.Object(cpu),
      memory: Type.Object(memory),
      gpu: Type.Object({ total_gpu: Type.Integer() }),
    }),
    nodes: Type.Array(
      Type.Object({
        name: Type.String(),
        cpu: Type.Object({ capacity_cores: optional, usage_cores: optional, request_cores: optional }),
        memory: Type.Object({ capacity_bytes: optional, usage_bytes: optional, request_bytes: optional }),
        gpu: Type.Integer(),
        is_interlink: Type.Boolean(),
        status: Type.String(),
        conditions: Type.Array(Type.Object({ type: Type.String(), status: Type.Boolean() })),
      }),
    ),
  }),
  oscar: Type.Object({
    deployment_name: Type.String(),
    ready: Type.Boolean(),
    deployment: Type.Object({
      available_replicas: Type.Integer(),
      ready_replicas: Type.Integer(),
      replicas: Type.Integer(),
      creation_timestamp: Type.String(),
      strategy: Type.String(),
      labels: Type.Record(Type.String(), Type.String()),
    }),
    jobs_count: Type.Integer(),
    pods: Type.Object({ total: Type.Integer(), states: Type.Record(Type.String(), Type.Integer()) }),
    oidc: Type.Object({
      enabled: Type.Boolean(),
      issuers: Type.Array(Type.String()),
      groups: Type.Array(Type.String()),
    }),
  }),
  minio: Type.Object({ buckets_count: Type.Integer(), total_objects: Type.Integer() }),
});
export type SystemStatus = Static<typeof SystemStatus>;

export interface StatusContext {
  readonly nodes: () => Promise<readonly NodeFacts[]>;
  readonly ledger: Pick<RunLedger, 'counts'>;
  readonly countObjects: () => Promise<ObjectCount>;
  /** Name of this installation. */
  readonly name: string;
  /** When this process began, epoch milliseconds. */
  readonly startedAt: number;
}

/** The installation as OSCAR describes a cluster: its machines, its server, its runs as pods. */
export async function readStatus(context: StatusContext): Promise<SystemStatus> {
  const [nodes, runs, stored] = await Promise.all([
    context.nodes(),
    context.ledger.counts(),
    context.countObjects(),
  ]);
  const total = runStates.reduce((sum, state) => sum + runs[state], 0);
  return {
    cluster: clusterOf(nodes),
    oscar: {
      deployment_name: context.name,
      ready: true,
      deployment: {
        available_replicas: 1,
        ready_replicas: 1,
        replicas: 1,
        creation_timestamp: kubeTime(context.startedAt),
        strategy: 'Recreate',
        labels: { app: context.name },
      },
      jobs_count: total,
      pods: {
        total,
        states: {
          Pending: runs.queued + runs.starting,
          Running: runs.running,
          Succeeded: runs.succeeded,
          Failed: runs.failed + runs.cancelled + runs.superseded,
          Unknown: 0,
        },
      },
      oidc: { enabled: false, issuers: [], groups: [] },
    },
    minio: { buckets_count: stored.buckets, total_objects: stored.objects },
  };
}

function clusterOf(nodes: readonly NodeFacts[]): SystemStatus['cluster'] {
  const sumAndMost = (amount: (node: NodeFacts) => number): [sum: number, most: number] => {
    const amounts = nodes.map((node) => Math.max(0, Math.round(amount(node))));
    return [amounts.reduce((sum, one) => sum + one, 0), Math.max(0, ...amounts)];
  };
  const [freeCpu, mostFreeCpu] = sumAndMost(({ cpuMillis }) => cpuMillis.capacity - cpuMillis.used);
  const [openCpu, mostOpenCpu] = sumAndMost(({ cpuMillis }) => cpuMillis.capacity - cpuMillis.requested);
  const [freeBytes, mostFreeBytes] = sumAndMost(({ memoryBytes }) => memoryBytes.capacity - memoryBytes.used);
  const [openBytes, mostOpenBytes] = sumAndMost(
    ({ memoryBytes }) => memoryBytes.capacity - memoryBytes.requested,
  );
  return {
    nodes_count: nodes.length,
    metrics: {
      cpu: {
        total_free_cores: freeCpu,
        max_free_on_node_cores: mostFreeCpu,
        total_schedulable_cores: openCpu,
        total_schedulable_on_node_cores: mostOpenCpu,
      },
      memory: {
        total_free_bytes: freeBytes,
        max_free_on_node_bytes: mostFreeBytes,
        total_schedulable_bytes: openBytes,
        max_schedulable_on_node_bytes: mostOpenBytes,
      },
      gpu: { total_gpu: 0 },
    },
    nodes: nodes.map(nodeOf),
  };
}

function nodeOf({
  name,
  ready,
  cpuMillis,
  memoryBytes,
  conditions,
}: NodeFacts): SystemStatus['cluster']['nodes'][number] {
  return {
    name,
    cpu: {
      ...unlessZero('capacity_cores', cpuMillis.capacity),
      ...unlessZero('usage_cores', cpuMillis.used),
      ...unlessZero('request_cores', cpuMillis.requested),
    },
    memory: {
      ...unlessZero('capacity_bytes', memoryBytes.capacity),
      ...unlessZero('usage_bytes', memoryBytes.used),
      ...unlessZero('request_bytes', memoryBytes.requested),
    },
    gpu: 0,
    is_interlink: false,
    status: ready ? 'Ready' : 'NotReady',
    conditions: [...conditions],
  };
}

/** Go's `omitempty`. */
function unlessZero<K extends string>(key: K, amount: number): { [P in K]?: number } {
  const whole = Math.round(amount);
  return (whole === 0 ? {} : { [key]: whole }) as { [P in K]?: number };
}
