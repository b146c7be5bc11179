import type { NodeFacts } from '@sluice/api';
import type { Bus } from '@sluice/shared/bus';
import type { ClusterState } from '@sluice/shared/contracts';
import { createPeriodic, type Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';

/** How often it is said; an api that starts knows nothing until then. */
const everyMs = 5000;
const maxNodes = 500;

/** Says again and again what performs runs, to apis that are processes of their own. */
export function announceClusterState(deps: {
  readonly bus: Pick<Bus, 'hint'>;
  readonly read: () => Promise<ClusterState>;
  readonly clock: Clock;
  readonly log: Logger;
}): { stop(): Promise<void> } {
  const { bus, read, clock, log } = deps;
  return createPeriodic({ name: 'cluster-state', everyMs, clock, log }, async () => {
    bus.hint({ name: 'cluster.state', payload: await read() });
  });
}

/** What was said last. */
export interface KnownClusterState {
  current(): ClusterState | undefined;
  stop(): Promise<void>;
}

export async function listenToClusterState(bus: Pick<Bus, 'listen'>): Promise<KnownClusterState> {
  let last: ClusterState | undefined;
  const listening = await bus.listen(['cluster.state'], ({ payload }) => {
    last = payload as ClusterState;
  });
  return { current: () => last, stop: () => listening.stop() };
}

export function toClusterNodes(nodes: readonly NodeFacts[]): ClusterState['nodes'] {
  return nodes.slice(0, maxNodes).map(({ cpuMillis, memoryBytes, conditions, ...node }) => ({
    ...node,
    cpu_millis: { ...cpuMillis },
    memory_bytes: { ...memoryBytes },
    conditions: conditions.map((one) => ({ ...one })),
  }));
}

export function toNodeFacts(state: ClusterState | undefined): readonly NodeFacts[] {
  return (state?.nodes ?? []).map(({ cpu_millis, memory_bytes, ...node }) => ({
    ...node,
    cpuMillis: cpu_millis,
    memoryBytes: memory_bytes,
  }));
}
