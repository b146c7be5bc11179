import { expect, test } from 'vitest';
import type { PodView } from './kube-views.ts';
import { podOutcome, type EndedAttempt } from './pod-outcome.ts';

const quiet = { image: 'busybox', waiting: undefined, ended: undefined };

function podOf(more: Partial<PodView> = {}): PodView {
  return {
    name: 'demo-1-abcde',
    ref: { run_id: 'demo-1', attempt: 1 },
    service: 'demo',
    createdAt: 0,
    phase: 'Failed',
    reason: undefined,
    message: undefined,
    node: 'node-1',
    dueAt: undefined,
    unschedulable: undefined,
    disruption: undefined,
    script: quiet,
    supervisor: quiet,
    memoryLimit: '512Mi',
    ...more,
  };
}

function ended(exitCode: number, reason = 'Error', message?: string): PodView['script'] {
  return { ...quiet, ended: { exitCode, reason, message } };
}

const job: EndedAttempt['job'] = { state: 'ended', reason: 'BackoffLimitExceeded' };
const overdue: EndedAttempt['job'] = { state: 'ended', reason: 'DeadlineExceeded' };

type Row = [
  what: string,
  given: Partial<EndedAttempt>,
  result: string,
  code: string,
  message: string,
  exitCode?: number,
];

test.each<Row>([
  [
    'a Job that is gone with its pod',
    { job: undefined, pod: undefined },
    'lost',
    'lost',
    'its Job was deleted while the attempt was under way',
  ],
  [
    'a pod that is gone',
    { pod: undefined },
    'lost',
    'lost',
    'its pod was deleted while the attempt was under way',
  ],
  [
    'a pod that was deleted and killed for it',
    { pod: podOf({ dueAt: 5, script: ended(137) }) },
    'lost',
    'lost',
    'its pod was deleted while the attempt was under way',
  ],
  [
    'a Job that was deleted, whose pod was asked to end',
    { job: undefined, pod: podOf({ dueAt: 5, script: ended(143) }) },
    'lost',
    'lost',
    'its Job was deleted while the attempt was under way',
  ],
  [
    'a pod that was deleted after its script had failed',
    { pod: podOf({ dueAt: 5, script: ended(3) }) },
    'failed',
    'script_failed',
    'the script ended with exit code 3',
    3,
  ],
  [
    'a deadline while the script ran',
    { job: overdue, pod: undefined, scriptStarted: true },
    'failed',
    'timed_out',
    'the Job ran past its deadline and was ended',
  ],
  [
    'a deadline before the script',
    { job: overdue, pod: podOf() },
    'failed',
    'not_started',
    'the script was not started within the deadline of its Job',
  ],
  [
    'a disk that is full of its files',
    {
      pod: podOf({
        reason: 'Evicted',
        message: 'Usage of EmptyDir volume "sluice" exceeds the limit "1Gi". ',
        disruption: { reason: 'TerminationByKubelet', message: 'the same' },
      }),
    },
    'failed',
    'out_of_disk',
    'it filled more of its node\'s disk than it may: Usage of EmptyDir volume "sluice" exceeds the limit "1Gi".',
  ],
  [
    'memory',
    { pod: podOf({ script: ended(137, 'OOMKilled') }) },
    'failed',
    'out_of_memory',
    'out of memory at its limit of 512Mi',
    137,
  ],
  [
    'memory without a limit',
    { pod: podOf({ script: ended(137, 'OOMKilled'), memoryLimit: undefined }) },
    'failed',
    'out_of_memory',
    'out of memory at its limit',
    137,
  ],
  [
    'an exit code',
    { pod: podOf({ script: ended(7) }) },
    'failed',
    'script_failed',
    'the script ended with exit code 7',
    7,
  ],
  [
    'an exit code, the Job not yet counted',
    { job: { state: 'open', reason: undefined }, pod: podOf({ script: ended(2) }) },
    'failed',
    'script_failed',
    'the script ended with exit code 2',
    2,
  ],
  [
    'a good end that nobody reported',
    { pod: podOf({ phase: 'Succeeded', script: ended(0, 'Completed') }) },
    'lost',
    'lost',
    'its pod ended without saying how',
  ],
  [
    'a kill that is not for memory',
    { pod: podOf({ script: ended(137) }) },
    'lost',
    'lost',
    'its container was killed',
    137,
  ],
  [
    'a wish to end',
    { pod: podOf({ script: ended(143) }) },
    'lost',
    'lost',
    'its container was asked to end',
    143,
  ],
  [
    'an image without a shell',
    {
      pod: podOf({
        script: {
          ...ended(128, 'StartError', 'exec: "/bin/sh": stat /bin/sh: no such file or directory'),
          image: 'host:5000/demo:v1@sha256:1234',
        },
      }),
    },
    'failed',
    'image_unusable',
    'the image host:5000/demo:v1 has no /bin/sh, which runs the script: use an image with a shell',
    128,
  ],
  [
    'the same as crun says it',
    {
      pod: podOf({
        script: ended(127, 'StartError', 'executable file `/bin/sh` not found: No such file or directory'),
      }),
    },
    'failed',
    'image_unusable',
    'the image busybox has no /bin/sh, which runs the script: use an image with a shell',
    127,
  ],
  [
    'an image for another kind of processor',
    { pod: podOf({ script: ended(128, 'StartError', 'exec /bin/sh: exec format error') }) },
    'failed',
    'not_started',
    'its container cannot be started: exec /bin/sh: exec format error',
    128,
  ],
  [
    'a supervisor that was killed for memory',
    { pod: podOf({ script: ended(0), supervisor: ended(137, 'OOMKilled') }) },
    'lost',
    'supervisor_lost',
    'the supervisor beside the script ran out of memory',
  ],
  [
    'a supervisor that failed',
    { pod: podOf({ supervisor: ended(1) }) },
    'lost',
    'supervisor_lost',
    'the supervisor beside the script ended with exit code 1 and did not say how the script ended',
  ],
  [
    'a supervisor that ended well and said nothing',
    { pod: podOf({ script: ended(0), supervisor: ended(0) }) },
    'lost',
    'lost',
    'its pod ended without saying how',
  ],
  [
    'an eviction',
    { pod: podOf({ reason: 'Evicted', message: 'low on resource: memory', script: ended(137) }) },
    'lost',
    'evicted',
    'evicted from its node node-1: low on resource: memory',
  ],
  [
    'an eviction by request',
    { pod: podOf({ disruption: { reason: 'EvictionByEvictionAPI', message: 'drained' } }) },
    'lost',
    'evicted',
    'evicted from its node node-1: drained',
  ],
  [
    'a preemption',
    { pod: podOf({ disruption: { reason: 'PreemptionByScheduler', message: 'x' }, script: ended(143) }) },
    'lost',
    'preempted',
    'made way for a pod of higher priority',
  ],
  [
    'a node that is lost',
    {
      pod: podOf({ phase: 'Running', disruption: { reason: 'DeletionByTaintManager', message: undefined } }),
    },
    'lost',
    'node_lost',
    'its node node-1 was lost: DeletionByTaintManager',
  ],
  [
    'a node that does not answer',
    { pod: podOf({ phase: 'Unknown', reason: 'NodeLost', node: undefined }) },
    'lost',
    'node_lost',
    'its node does not answer any more',
  ],
  [
    'a pod that its node refused',
    { pod: podOf({ reason: 'OutOfcpu', message: 'Node did not have enough resource: cpu' }) },
    'lost',
    'not_started',
    'its node node-1 did not take it: Node did not have enough resource: cpu',
  ],
  [
    'a node that shut down',
    { pod: podOf({ reason: 'Terminated', message: 'node shutdown', script: ended(137) }) },
    'lost',
    'lost',
    'ended by its node node-1: node shutdown',
  ],
])('%s', (_what, given, result, code, message, exitCode) => {
  const outcome = podOutcome({ job, pod: podOf(), scriptStarted: false, ...given });
  expect({
    result: outcome.result,
    code: outcome.failure?.code,
    message: outcome.failure?.message,
    exitCode: outcome.exit_code,
  }).toEqual({ result, code, message, exitCode });
  expect(outcome.outputs).toEqual([]);
});

test('whether the script was started is what the supervisor said, or what only a script can do', () => {
  const started = (pod: PodView, scriptStarted: boolean): boolean =>
    podOutcome({ job, pod, scriptStarted }).script_started;
  expect(started(podOf({ script: ended(137) }), true)).toBe(true);
  expect(started(podOf({ script: ended(137) }), false)).toBe(false);
  expect(started(podOf({ script: ended(137, 'OOMKilled') }), false)).toBe(true);
  expect(started(podOf({ script: ended(128, 'StartError') }), true)).toBe(false);
});
