import type { V1ContainerStatus, V1Job, V1Pod } from '@kubernetes/client-node';
import type { AttemptRef } from '@sluice/shared/contracts';
import { attemptOf, podLabels } from './pod-labels.ts';
import { scriptContainer, supervisorContainer } from './pod-spec.ts';

/** What is remembered of a Job. */
export interface JobView {
  readonly name: string;
  readonly ref: AttemptRef;
  readonly service: string;
  /** Epoch milliseconds, in the cluster's clock. */
  readonly createdAt: number;
  /** `ending`: it has failed, and its pod may still be there. */
  readonly state: 'open' | 'ending' | 'ended';
  /** Why it failed: `DeadlineExceeded`, `BackoffLimitExceeded`. */
  readonly reason: string | undefined;
  /** Held back by a queue. */
  readonly suspended: boolean;
  readonly queue: string | undefined;
  /** Pods that the cluster counts as not ended. */
  readonly active: number;
}

/** What is remembered of a pod. */
export interface PodView {
  readonly name: string;
  readonly ref: AttemptRef;
  readonly service: string;
  readonly createdAt: number;
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly node: string | undefined;
  /** When it should be gone, once it is to be deleted; epoch milliseconds. */
  readonly dueAt: number | undefined;
  /** Why the scheduler finds no node. */
  readonly unschedulable: string | undefined;
  /** Why the cluster itself ended it: `DeletionByTaintManager`, `PreemptionByScheduler`. */
  readonly disruption: Because | undefined;
  readonly script: ContainerView;
  readonly supervisor: ContainerView;
  /** What its script may use, as its spec writes it. */
  readonly memoryLimit: string | undefined;
}

export interface Because {
  readonly reason: string;
  readonly message: string | undefined;
}

export interface ContainerView {
  readonly image: string | undefined;
  readonly waiting: Because | undefined;
  readonly ended: (Because & { readonly exitCode: number }) | undefined;
}

/** Whether nothing of a pod runs any more. */
export function hasEnded(pod: Pick<PodView, 'phase'>): boolean {
  return pod.phase === 'Succeeded' || pod.phase === 'Failed';
}

/** Undefined for a Job of somebody else. */
export function jobView(object: unknown): JobView | undefined {
  const { metadata = {}, spec, status = {} } = object as V1Job;
  const ref = attemptOf(metadata);
  if (ref === undefined || metadata.name === undefined) return undefined;
  const conditions = (status.conditions ?? []).filter((one) => one.status === 'True');
  const ended = conditions.find((one) => one.type === 'Complete' || one.type === 'Failed');
  const ending = conditions.find((one) => one.type === 'FailureTarget');
  return {
    name: metadata.name,
    ref,
    service: metadata.labels?.[podLabels.service] ?? '',
    createdAt: timeOf(metadata.creationTimestamp) ?? 0,
    state: ended === undefined ? (ending === undefined ? 'open' : 'ending') : 'ended',
    reason: (ended ?? ending)?.reason,
    suspended: spec?.suspend === true,
    queue: metadata.labels?.['kueue.x-k8s.io/queue-name'],
    active: status.active ?? 0,
  };
}

/** Undefined for a pod of somebody else. */
export function podView(object: unknown): PodView | undefined {
  const { metadata = {}, spec, status = {} } = object as V1Pod;
  const ref = attemptOf(metadata);
  if (ref === undefined || metadata.name === undefined) return undefined;
  const conditions = status.conditions ?? [];
  const scheduled = conditions.find((one) => one.type === 'PodScheduled');
  const disruption = conditions.find((one) => one.type === 'DisruptionTarget' && one.status === 'True');
  const script = spec?.containers.find(({ name }) => name === scriptContainer);
  const supervisor = spec?.initContainers?.find(({ name }) => name === supervisorContainer);
  return {
    name: metadata.name,
    ref,
    service: metadata.labels?.[podLabels.service] ?? '',
    createdAt: timeOf(metadata.creationTimestamp) ?? 0,
    phase: phaseOf(status.phase),
    reason: status.reason,
    message: short(status.message),
    node: spec?.nodeName,
    dueAt: timeOf(metadata.deletionTimestamp),
    unschedulable: scheduled?.status === 'False' ? (short(scheduled.message) ?? scheduled.reason) : undefined,
    disruption:
      disruption === undefined
        ? undefined
        : { reason: disruption.reason ?? '', message: short(disruption.message) },
    script: containerView(script?.image, status.containerStatuses, scriptContainer),
    supervisor: containerView(supervisor?.image, status.initContainerStatuses, supervisorContainer),
    memoryLimit: script?.resources?.limits?.['memory'],
  };
}

function phaseOf(phase: string | undefined): PodView['phase'] {
  switch (phase) {
    case 'Pending':
    case 'Running':
    case 'Succeeded':
    case 'Failed':
      return phase;
    default:
      return 'Unknown';
  }
}

function containerView(
  image: string | undefined,
  statuses: readonly V1ContainerStatus[] | undefined,
  name: string,
): ContainerView {
  const { waiting, terminated } = statuses?.find((one) => one.name === name)?.state ?? {};
  return {
    image,
    waiting:
      waiting?.reason === undefined ? undefined : { reason: waiting.reason, message: short(waiting.message) },
    ended:
      terminated === undefined
        ? undefined
        : {
            exitCode: terminated.exitCode,
            reason: terminated.reason ?? '',
            message: short(terminated.message),
          },
  };
}

const maxMessage = 500;

function short(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === undefined || trimmed === '' ? undefined : trimmed.slice(0, maxMessage);
}

/** Times come as text: what parses a Job here makes no dates of them. */
function timeOf(time: Date | string | undefined): number | undefined {
  const at = time === undefined ? Number.NaN : new Date(time).getTime();
  return Number.isFinite(at) ? at : undefined;
}
