import { expect, test } from 'vitest';
import { jobView, podView } from './kube-views.ts';

const metadata = {
  name: 'demo-1-abc',
  creationTimestamp: '2026-01-02T03:04:05Z',
  labels: {
    'sluice.internal/run': 'demo-1',
    'sluice.internal/attempt': '2',
    'sluice.internal/service': 'demo',
  },
};
const ref = { run_id: 'demo-1', attempt: 2 };

test('what is remembered of a Job', () => {
  const open = { name: 'demo-1-abc', ref, service: 'demo', createdAt: 1_767_323_045_000, state: 'open' };
  expect(jobView({ metadata, spec: {}, status: { active: 1 } })).toEqual({
    ...open,
    reason: undefined,
    suspended: false,
    queue: undefined,
    active: 1,
  });
  const failing = [
    { type: 'FailureTarget', status: 'True', reason: 'DeadlineExceeded' },
    { type: 'Failed', status: 'False' },
  ];
  expect(jobView({ metadata, status: { conditions: failing } })).toMatchObject({
    state: 'ending',
    reason: 'DeadlineExceeded',
  });
  const failed = [...failing, { type: 'Failed', status: 'True', reason: 'DeadlineExceeded' }];
  expect(jobView({ metadata, status: { conditions: failed } })).toMatchObject({ state: 'ended' });
  const complete = [{ type: 'Complete', status: 'True' }];
  expect(jobView({ metadata, status: { conditions: complete } })).toMatchObject({ state: 'ended' });
});

test('what is remembered of a pod', () => {
  const view = podView({
    metadata: { ...metadata, deletionTimestamp: '2026-01-02T03:05:05Z' },
    spec: {
      nodeName: 'node-1',
      initContainers: [{ name: 'sluice-supervisor', image: 'supervisor:1' }],
      containers: [{ name: 'oscar-container', image: 'busybox', resources: { limits: { memory: '1Gi' } } }],
    },
    status: {
      phase: 'Pending',
      conditions: [
        { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: ' no node ' },
        { type: 'DisruptionTarget', status: 'True', reason: 'DeletionByTaintManager' },
      ],
      initContainerStatuses: [
        { name: 'sluice-supervisor', state: { terminated: { exitCode: 3, reason: 'Error' } } },
      ],
      containerStatuses: [
        { name: 'oscar-container', state: { waiting: { reason: 'ErrImagePull', message: 'x'.repeat(900) } } },
      ],
    },
  });
  expect(view).toEqual({
    name: 'demo-1-abc',
    ref,
    service: 'demo',
    createdAt: 1_767_323_045_000,
    phase: 'Pending',
    reason: undefined,
    message: undefined,
    node: 'node-1',
    dueAt: 1_767_323_105_000,
    unschedulable: 'no node',
    disruption: { reason: 'DeletionByTaintManager', message: undefined },
    script: {
      image: 'busybox',
      waiting: { reason: 'ErrImagePull', message: 'x'.repeat(500) },
      ended: undefined,
    },
    supervisor: {
      image: 'supervisor:1',
      waiting: undefined,
      ended: { exitCode: 3, reason: 'Error', message: undefined },
    },
    memoryLimit: '1Gi',
  });
});

test.each([{}, { metadata: { name: 'x' } }, { metadata: { labels: metadata.labels } }])(
  'an object that is not of ours is passed over: %j',
  (object) => {
    expect(jobView(object)).toBeUndefined();
    expect(podView(object)).toBeUndefined();
  },
);
