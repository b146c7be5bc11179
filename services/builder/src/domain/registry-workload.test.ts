import { expect, test } from 'vitest';
import {
  isRolledOut,
  parseWorkload,
  runningPod,
  selectorText,
  switchPatch,
  workloadFault,
  type Workload,
} from './registry-workload.ts';

const workload: Workload = {
  metadata: { generation: 3 },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: 'registry', tier: 'x' } },
    strategy: { type: 'Recreate' },
    template: { spec: { containers: [{ name: 'registry' }, { name: 'proxy' }] } },
  },
  status: { observedGeneration: 3, replicas: 1, updatedReplicas: 1, availableReplicas: 1 },
};

test('names', () => {
  expect(parseWorkload('tools/statefulset/registry')).toEqual({
    namespace: 'tools',
    kind: 'statefulset',
    name: 'registry',
  });
  for (const bad of [
    'registry',
    'a/pod/b',
    'a/deployment/',
    'a/deployment/b/c',
    'A/deployment/b',
    '../deployment/b',
  ])
    expect(parseWorkload(bad)).toBeUndefined();
});

test('what could run two registries on one storage is refused', () => {
  expect(workloadFault('deployment', workload)).toBeUndefined();
  const { spec, ...rest } = workload;
  expect(
    workloadFault('deployment', { ...rest, spec: { ...spec, strategy: { type: 'RollingUpdate' } } }),
  ).toMatch(/Recreate/);
  expect(
    workloadFault('statefulset', { ...rest, spec: { ...spec, updateStrategy: { type: 'OnDelete' } } }),
  ).toMatch(/OnDelete/);
  expect(workloadFault('statefulset', { ...rest, spec: { ...spec, replicas: 2 } })).toMatch(/2 replicas/);
  expect(workloadFault('statefulset', {})).toMatch(/no container/);
});

test('the first container is switched, and always replaced', () => {
  expect(switchPatch(workload, true, 'now')).toEqual({
    spec: {
      template: {
        metadata: { annotations: { 'sluice.internal/switched-at': 'now' } },
        spec: {
          containers: [
            {
              name: 'registry',
              env: [{ name: 'REGISTRY_STORAGE_MAINTENANCE_READONLY', value: '{"enabled":true}' }],
            },
          ],
        },
      },
    },
  });
  expect(JSON.stringify(switchPatch(workload, false, 'now'))).toContain(String.raw`{\"enabled\":false}`);
});

test('rolled out when the change is seen, and its pod is the only one', () => {
  const pod = { metadata: { name: 'registry-0' }, status: { phase: 'Running' } };
  const leaving = { metadata: { name: 'old', deletionTimestamp: 'now' }, status: { phase: 'Running' } };
  expect(isRolledOut('deployment', workload, [pod])).toBe(true);
  expect(isRolledOut('deployment', workload, [pod, leaving])).toBe(false);
  expect(isRolledOut('deployment', { ...workload, metadata: { generation: 4 } }, [pod])).toBe(false);
  const { status } = workload;
  expect(isRolledOut('deployment', { ...workload, status: { ...status, availableReplicas: 0 } }, [pod])).toBe(
    false,
  );
  const revisions = { currentRevision: 'a', updateRevision: 'b' };
  expect(isRolledOut('statefulset', { ...workload, status: { ...status, ...revisions } }, [pod])).toBe(false);
  expect(isRolledOut('deployment', {}, [])).toBe(false);
  expect(runningPod([leaving, pod])).toBe('registry-0');
  expect(runningPod([leaving])).toBeUndefined();
  expect(selectorText(workload)).toBe('app=registry,tier=x');
});
