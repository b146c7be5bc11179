import type { V1PodStatus } from '@kubernetes/client-node';
import type { RunnerPlan, ServiceDefinition } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { runnerPodName } from './pod-labels.ts';
import { runnerPod, runnerPodView } from './runner-pod.ts';

const definition = {
  name: 'demo',
  image: 'docker.io/library/busybox:1',
  cpu: '0.5',
  memory: '64Mi',
  owner: '',
  labels: {},
  annotations: {},
  environment: { variables: {}, secrets: { PASSWORD: 'hunter2' } },
} as unknown as ServiceDefinition;
const plan: RunnerPlan = {
  runner_id: 'Demo_x-0123',
  service_uid: 'uid-1',
  service_version: 3,
  definition,
  script: 'echo secret script',
  secrets: { token: 'topsecret', environment: { PASSWORD: 'hunter2' } },
};
const settings = { instance: 'one', supervisorImage: 'sup:1', schedulerUrl: 'http://scheduler:8081' };
const pod = runnerPod(plan, { token: 'pod-token', image: undefined, port: 8081 }, settings);
const withStatus = (status: V1PodStatus, deletionTimestamp?: Date): object => {
  const { name, labels, annotations } = pod.metadata ?? {};
  const { spec } = pod;
  return { metadata: { name, labels, annotations, deletionTimestamp }, spec, status };
};
const running = { state: { running: {} } } as never;
const sidecar = { ...(running as object), name: 'sluice-supervisor' } as never;
const main = { ...(running as object), name: 'oscar-container' } as never;
const stateOf = (state: object) => [{ name: 'oscar-container', state }] as never;

test('a bare pod with nothing secret but its token', () => {
  expect(pod.kind).toBe('Pod');
  expect(pod.spec?.restartPolicy).toBe('Never');
  expect(pod.metadata?.name).toBe(runnerPodName('one', 'Demo_x-0123'));
  expect(pod.metadata?.name).toMatch(/^demo-x-0123-[0-9a-f]{20}$/);
  const text = JSON.stringify(pod);
  for (const secret of ['hunter2', 'topsecret', 'secret script']) expect(text).not.toContain(secret);
  const env = Object.fromEntries(
    (pod.spec?.initContainers?.[0]?.env ?? []).map((one) => [one.name, one.value]),
  );
  expect(env).toMatchObject({
    SLUICE_POD_MODE: 'runner',
    SLUICE_RUNNER_ID: 'Demo_x-0123',
    SLUICE_SERVICE: 'demo',
    SLUICE_SERVICE_UID: 'uid-1',
    SLUICE_SERVICE_VERSION: '3',
    SLUICE_RUNNER_PORT: '8081',
    SLUICE_POD_TOKEN: 'pod-token',
  });
});

test('a pod has an address when both of its containers run', () => {
  const known = {
    runnerId: 'Demo_x-0123',
    serviceUid: 'uid-1',
    serviceVersion: 3,
    leaving: false,
    ended: undefined,
    endedInOrder: false,
  };
  expect(runnerPodView(withStatus({ podIP: '10.0.0.1', initContainerStatuses: [sidecar] }))).toMatchObject({
    ...known,
    ip: undefined,
  });
  const both = { podIP: '10.0.0.1', initContainerStatuses: [sidecar], containerStatuses: [main] };
  expect(runnerPodView(withStatus(both))).toMatchObject({ ...known, ip: '10.0.0.1', waiting: undefined });
  expect(runnerPodView(withStatus(both, new Date(0)))?.leaving).toBe(true);
});

test('what is no runner is passed over', () => {
  expect(runnerPodView({ metadata: { name: 'x' } })).toBeUndefined();
  expect(runnerPodView({})).toBeUndefined();
});

test.each<[V1PodStatus, boolean]>([
  [{ containerStatuses: stateOf({ terminated: { exitCode: 0, reason: 'Completed' } }) }, true],
  [{ containerStatuses: stateOf({ terminated: { exitCode: 1, reason: 'Error' } }) }, false],
  [{ reason: 'Evicted', containerStatuses: stateOf({ terminated: { exitCode: 0 } }) }, false],
  [{ phase: 'Failed' }, false],
])('an end in order is one with 0: %j', (status, expected) => {
  expect(runnerPodView(withStatus(status))?.endedInOrder).toBe(expected);
});

test.each<[V1PodStatus, RegExp]>([
  [
    { containerStatuses: stateOf({ terminated: { exitCode: 137, reason: 'OOMKilled' } }) },
    /more memory .* raise "memory"/,
  ],
  [
    { containerStatuses: stateOf({ terminated: { exitCode: 2, reason: 'Error' } }) },
    /ended with status 2 \(Error\)/,
  ],
  [
    {
      containerStatuses: stateOf({
        terminated: { exitCode: 128, reason: 'StartError', message: 'exec: "/bin/sh": no such file' },
      }),
    },
    /cannot be started: the image .* has no \/bin\/sh, .* use an image with a shell\.$/,
  ],
  [
    { phase: 'Failed', reason: 'Evicted', message: 'The node was low on disk. ' },
    /by the cluster: The node was low on disk\.$/,
  ],
  [{ phase: 'Succeeded' }, /has ended/],
])('an end is told: %j', (status, expected) => {
  expect(runnerPodView(withStatus(status))?.ended).toMatch(expected);
});

test.each<[V1PodStatus, string, RegExp]>([
  [
    {
      conditions: [
        {
          type: 'PodScheduled',
          status: 'False',
          reason: 'Unschedulable',
          message: '0/3 nodes are available.',
        },
      ] as never,
    },
    'node',
    /^No node of the cluster has room for the pod: 0\/3 nodes are available\.$/,
  ],
  [
    { containerStatuses: stateOf({ waiting: { reason: 'ImagePullBackOff', message: 'not found' } }) },
    'long',
    /^The image docker\.io\/library\/busybox:1 cannot be pulled: not found\.$/,
  ],
  [
    { containerStatuses: stateOf({ waiting: { reason: 'ErrImagePull' } }) },
    'soon',
    /cannot be pulled: ErrImagePull/,
  ],
  [
    {
      containerStatuses: stateOf({
        waiting: { reason: 'CreateContainerConfigError', message: 'no such claim' },
      }),
    },
    'long',
    /^The container oscar-container does not start: no such claim/,
  ],
])('a wait is told: %j', (status, lasts, sentence) => {
  expect(runnerPodView(withStatus(status))?.waiting).toMatchObject({
    lasts,
    sentence: expect.stringMatching(sentence),
  });
});

test('a start that goes on is no wait', () => {
  const status = { containerStatuses: stateOf({ waiting: { reason: 'ContainerCreating' } }) };
  expect(runnerPodView(withStatus(status))?.waiting).toBeUndefined();
});
