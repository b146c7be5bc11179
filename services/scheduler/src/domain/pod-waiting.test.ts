import { expect, test } from 'vitest';
import type { ContainerView, PodView } from './kube-views.ts';
import { givenUp, waitingOf } from './pod-waiting.ts';

const quiet: ContainerView = { image: 'registry.example/tool:1', waiting: undefined, ended: undefined };

function podOf(more: Partial<PodView>): PodView {
  return {
    name: 'p',
    ref: { run_id: 'r', attempt: 1 },
    service: 's',
    createdAt: 0,
    phase: 'Pending',
    reason: undefined,
    message: undefined,
    node: undefined,
    dueAt: undefined,
    unschedulable: undefined,
    disruption: undefined,
    script: quiet,
    supervisor: quiet,
    memoryLimit: undefined,
    ...more,
  };
}

function waits(reason: string, message?: string): ContainerView {
  return { ...quiet, waiting: { reason, message } };
}

test.each<[Partial<PodView>, string | undefined, string?]>([
  [{}, undefined],
  [{ script: waits('ContainerCreating') }, undefined],
  [{ script: waits('PodInitializing') }, undefined],
  [{ phase: 'Succeeded', script: waits('ErrImagePull') }, undefined],
  [{ unschedulable: '0/3 nodes are available' }, 'waits for a node: 0/3 nodes are available', 'yes'],
  [
    { script: waits('ErrImagePull', 'not found') },
    'the image registry.example/tool:1 of the service cannot be pulled: not found',
    'unlikely',
  ],
  [
    { supervisor: waits('ImagePullBackOff') },
    'the image registry.example/tool:1 of the supervisor cannot be pulled: ImagePullBackOff',
    'unlikely',
  ],
  [
    { script: waits('InvalidImageName', 'bad') },
    'the image of the service has an invalid name: registry.example/tool:1',
    'never',
  ],
  [
    { script: waits('ErrImageNeverPull', 'absent') },
    'the image of the service is not on the node and is never pulled: absent',
    'never',
  ],
  [
    { script: waits('CreateContainerConfigError', 'runAsNonRoot') },
    'the container of the service cannot be started: runAsNonRoot',
    'unlikely',
  ],
  [
    { phase: 'Running', supervisor: waits('CrashLoopBackOff', 'back-off') },
    'the container of the supervisor cannot be started: back-off',
    'unlikely',
  ],
])('%j', (pod, message, heals) => {
  expect(waitingOf({ suspended: false, queue: undefined }, podOf(pod))).toEqual(
    message === undefined ? undefined : { message, heals },
  );
});

test('a Job without a pod', () => {
  const job = { suspended: false, queue: undefined };
  expect(waitingOf(job, undefined)).toBeUndefined();
  expect(waitingOf({ suspended: true, queue: 'team' }, undefined)).toEqual({
    message: 'waits in queue team',
    heals: 'yes',
  });
  expect(waitingOf(job, undefined, 'pods "x" is forbidden: exceeded quota: q')).toMatchObject({
    message: 'its pod is refused: pods "x" is forbidden: exceeded quota: q',
    heals: 'yes',
  });
  expect(waitingOf(job, undefined, 'violates PodSecurity')).toMatchObject({ heals: 'unlikely' });
});

test('what was waited for in vain is the failure', () => {
  expect(givenUp({ message: 'no image', heals: 'never' })).toEqual({
    result: 'failed',
    script_started: false,
    outputs: [],
    failure: { code: 'not_started', message: 'no image' },
  });
});
