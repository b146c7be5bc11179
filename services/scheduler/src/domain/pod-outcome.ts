import type { AttemptOutcome } from '@sluice/shared/contracts';
import type { Because, JobView, PodView } from './kube-views.ts';
import { imageFault, isStartError } from './start-error.ts';

export interface EndedAttempt {
  readonly job: Pick<JobView, 'state' | 'reason'> | undefined;
  /** The last that was seen of its pod; undefined where it has gone or never was. */
  readonly pod: PodView | undefined;
  /** Whether the supervisor said that the script was started. */
  readonly scriptStarted: boolean;
}

/**
 * How an attempt ended whose supervisor did not say it, from what the cluster tells of its pod. A script that may have done its work without its outputs being stored is lost,
 * not successful: it is tried again within bounds.
 */
export function podOutcome({ job, pod, scriptStarted }: EndedAttempt): AttemptOutcome {
  const outcome = (
    result: 'failed' | 'lost',
    code: string,
    message: string,
    more: Partial<AttemptOutcome> = {},
  ): AttemptOutcome => ({
    result,
    script_started: scriptStarted,
    outputs: [],
    failure: { code, message },
    ...more,
  });
  if (job?.reason === 'DeadlineExceeded') {
    return scriptStarted
      ? outcome('failed', 'timed_out', 'the Job ran past its deadline and was ended')
      : outcome('failed', 'not_started', 'the script was not started within the deadline of its Job');
  }
  if (pod === undefined || wasDeleted(pod)) {
    const what = job === undefined ? 'Job' : 'pod';
    return outcome('lost', 'lost', `its ${what} was deleted while the attempt was under way`);
  }
  return (
    ofCluster(pod, outcome) ??
    ofScript(pod, outcome) ??
    ofSupervisor(pod, outcome) ??
    outcome('lost', 'lost', 'its pod ended without saying how')
  );
}

/** Somebody deleted it, and it ended of that and of nothing else. */
function wasDeleted({ dueAt, disruption, reason, script }: PodView): boolean {
  if (dueAt === undefined || disruption !== undefined || reason !== undefined) return false;
  const { ended } = script;
  return ended === undefined || (ended.reason !== 'OOMKilled' && [137, 143].includes(ended.exitCode));
}

type Make = (
  result: 'failed' | 'lost',
  code: string,
  message: string,
  more?: Partial<AttemptOutcome>,
) => AttemptOutcome;

/** What was done to the pod as a whole. */
function ofCluster(pod: PodView, outcome: Make): AttemptOutcome | undefined {
  const at = pod.node === undefined ? '' : ` ${pod.node}`;
  const full = ofDisk(pod, outcome);
  if (full !== undefined) return full;
  if (pod.disruption !== undefined) return ofDisruption(pod.disruption, at, outcome);
  if (pod.reason === 'Evicted') {
    return outcome('lost', 'evicted', `evicted from its node${at}: ${said(pod)}`);
  }
  if (pod.reason === 'NodeLost' || pod.phase === 'Unknown') {
    return outcome('lost', 'node_lost', `its node${at} does not answer any more`);
  }
  // A node that shuts down, or one that refused the pod (`OutOfcpu`, `NodeAffinity`, `UnexpectedAdmissionError`).
  if (pod.reason !== undefined && pod.script.ended === undefined) {
    return outcome('lost', 'not_started', `its node${at} did not take it: ${said(pod)}`);
  }
  return pod.reason === undefined || pod.reason === 'DeadlineExceeded'
    ? undefined
    : outcome('lost', 'lost', `ended by its node${at}: ${said(pod)}`);
}

/** How a kubelet says that a pod filled more of its disk than it may: that is the script's doing, and the next attempt's as well. */
const overDisk = /exceeds? the (?:total )?limit|exceeded its local ephemeral storage limit/;

function ofDisk({ disruption, reason, message }: PodView, outcome: Make): AttemptOutcome | undefined {
  const sentence = reason === 'Evicted' ? message : disruption?.message;
  if (sentence === undefined || !overDisk.test(sentence)) return undefined;
  return outcome(
    'failed',
    'out_of_disk',
    `it filled more of its node's disk than it may: ${sentence.trim()}`,
    {
      script_started: true,
    },
  );
}

function ofDisruption(disruption: Because, at: string, outcome: Make): AttemptOutcome {
  switch (disruption.reason) {
    case 'PreemptionByScheduler':
      return outcome('lost', 'preempted', 'made way for a pod of higher priority');
    case 'DeletionByTaintManager':
    case 'DeletionByPodGC':
      return outcome('lost', 'node_lost', `its node${at} was lost: ${said(disruption)}`);
    default:
      return outcome('lost', 'evicted', `evicted from its node${at}: ${said(disruption)}`);
  }
}

function ofScript(pod: PodView, outcome: Make): AttemptOutcome | undefined {
  const { ended } = pod.script;
  if (ended === undefined) return undefined;
  const { exitCode, reason } = ended;
  if (reason === 'OOMKilled') {
    const limit = pod.memoryLimit === undefined ? 'its limit' : `its limit of ${pod.memoryLimit}`;
    return outcome('failed', 'out_of_memory', `out of memory at ${limit}`, {
      exit_code: exitCode,
      // The shim alone needs next to nothing.
      script_started: true,
    });
  }
  // Most often an image without /bin/sh, or for another kind of processor.
  if (isStartError(reason)) {
    const fault = imageFault(pod.script.image, ended.message);
    const more = { exit_code: exitCode, script_started: false };
    return fault === undefined
      ? outcome('failed', 'not_started', `its container cannot be started: ${said(ended)}`, more)
      : outcome('failed', 'image_unusable', fault, more);
  }
  switch (exitCode) {
    case 0:
      // A script that ended well has its outputs stored by a supervisor that says so.
      return undefined;
    case 137:
      return outcome('lost', 'lost', 'its container was killed', { exit_code: exitCode });
    case 143:
      return outcome('lost', 'lost', 'its container was asked to end', { exit_code: exitCode });
    default:
      return outcome('failed', 'script_failed', `the script ended with exit code ${exitCode}`, {
        exit_code: exitCode,
      });
  }
}

function ofSupervisor(pod: PodView, outcome: Make): AttemptOutcome | undefined {
  const { ended } = pod.supervisor;
  if (ended === undefined) return undefined;
  if (ended.reason === 'OOMKilled') {
    return outcome('lost', 'supervisor_lost', 'the supervisor beside the script ran out of memory');
  }
  if (ended.exitCode === 0) return undefined;
  return outcome(
    'lost',
    'supervisor_lost',
    `the supervisor beside the script ended with exit code ${ended.exitCode} and did not say how the script ended`,
  );
}

function said({ reason, message }: { reason: string | undefined; message: string | undefined }): string {
  return message ?? reason ?? 'no reason given';
}
