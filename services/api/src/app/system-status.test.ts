import { expect, test } from 'vitest';
import type { NodeFacts } from '../ports.ts';
import { readStatus } from './system-status.ts';

const node = (name: string, used: number, requested: number): NodeFacts => ({
  name,
  ready: true,
  cpuMillis: { capacity: 4000, used, requested },
  memoryBytes: { capacity: 1000, used: used / 10, requested: requested / 10 },
  conditions: [{ type: 'Ready', status: true }],
});
const runs = { queued: 1, starting: 2, running: 3, succeeded: 4, failed: 5, cancelled: 6, superseded: 7 };
const read = async (nodes: readonly NodeFacts[]) =>
  readStatus({
    nodes: async () => nodes,
    ledger: { counts: async () => runs },
    countObjects: async () => ({ buckets: 2, objects: 9 }),
    name: 'oscar',
    startedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  });

test('sums over all nodes, and the most on one', async () => {
  const { cluster } = await read([node('a', 1000, 3000), node('b', 2000, 0), node('c', 9000, 9000)]);
  expect(cluster).toMatchObject({
    nodes_count: 3,
    metrics: {
      cpu: {
        total_free_cores: 5000,
        max_free_on_node_cores: 3000,
        total_schedulable_cores: 5000,
        total_schedulable_on_node_cores: 4000,
      },
      memory: {
        total_free_bytes: 1800,
        max_free_on_node_bytes: 900,
        total_schedulable_bytes: 1800,
        max_schedulable_on_node_bytes: 1000,
      },
      gpu: { total_gpu: 0 },
    },
  });
});

test('amounts of nothing are left out, as Go does', async () => {
  const { cluster } = await read([{ ...node('a', 0, 0), ready: false }]);
  expect(cluster.nodes).toEqual([
    {
      name: 'a',
      cpu: { capacity_cores: 4000 },
      memory: { capacity_bytes: 1000 },
      gpu: 0,
      is_interlink: false,
      status: 'NotReady',
      conditions: [{ type: 'Ready', status: true }],
    },
  ]);
});

test('runs as pods', async () => {
  const { oscar } = await read([]);
  expect(oscar.jobs_count).toBe(28);
  expect(oscar.pods).toEqual({
    total: 28,
    states: { Pending: 3, Running: 3, Succeeded: 4, Failed: 18, Unknown: 0 },
  });
  expect(oscar.deployment.creation_timestamp).toBe('2026-01-02T03:04:05Z');
});

test('no node known: figures of nothing', async () => {
  const { cluster } = await read([]);
  expect(cluster).toMatchObject({
    nodes_count: 0,
    nodes: [],
    metrics: { cpu: { total_free_cores: 0, max_free_on_node_cores: 0 } },
  });
});
