import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { podVariables, type RunnerPlan } from '@sluice/shared/contracts';
import { labelValue, podAnnotations, podLabels, runnerPodName } from './pod-labels.ts';
import type { ImageFacts } from './pod-security.ts';
import { podTemplate, scriptContainer, supervisorContainer, type PodSettings } from './pod-spec.ts';
import { imageFault, isStartError } from './start-error.ts';

/** What is kept of a runner's pod. */
export interface RunnerPod {
  readonly name: string;
  readonly runnerId: string;
  readonly serviceUid: string;
  readonly serviceVersion: number;
  /** Set while both of its containers run: the supervisor alone would take calls that nothing performs. */
  readonly ip: string | undefined;
  /** It was asked to end. */
  readonly leaving: boolean;
  /** Why it is no runner any more, in a sentence. */
  readonly ended: string | undefined;
  /** Its supervisor let it end: a call had to be killed with it. */
  readonly endedInOrder: boolean;
  /** What it waits for, in a sentence. */
  readonly waiting: PodWait | undefined;
}

export interface PodWait {
  /** `soon`: nothing that would be known to last. */
  readonly lasts: 'soon' | 'node' | 'long';
  readonly sentence: string;
}

/** A bare pod: a Job would start again what the pool has given up, and keep what has ended. */
export function runnerPod(
  plan: RunnerPlan,
  parts: { readonly token: string; readonly image: ImageFacts | undefined; readonly port: number },
  settings: PodSettings,
): V1Pod {
  const { metadata, spec } = podTemplate(
    {
      kind: 'runner',
      definition: plan.definition,
      serviceUid: plan.service_uid,
      serviceVersion: plan.service_version,
      image: parts.image,
      token: parts.token,
      environment: {
        [podVariables.runnerId]: plan.runner_id,
        [podVariables.service]: plan.definition.name,
        [podVariables.serviceUid]: plan.service_uid,
        [podVariables.serviceVersion]: `${plan.service_version}`,
        [podVariables.runnerPort]: `${parts.port}`,
      },
      labels: { [podLabels.runner]: labelValue(plan.runner_id) },
      annotations: { [podAnnotations.runnerId]: plan.runner_id },
      port: parts.port,
    },
    settings,
  );
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: runnerPodName(settings.instance, plan.runner_id),
      labels: metadata?.labels ?? {},
      annotations: metadata?.annotations ?? {},
    },
    ...(spec === undefined ? {} : { spec }),
  };
}

/** Reads a pod as the API server tells of it; undefined for one that is no runner's. */
export function runnerPodView(object: unknown): RunnerPod | undefined {
  const { metadata = {}, spec, status = {} } = object as V1Pod;
  const { labels = {}, annotations = {} } = metadata;
  const runnerId = annotations[podAnnotations.runnerId];
  const serviceVersion = Number(labels[podLabels.serviceVersion]);
  if (runnerId === undefined || metadata.name === undefined || !Number.isInteger(serviceVersion))
    return undefined;
  const image = spec?.containers.find(({ name }) => name === scriptContainer)?.image ?? '';
  const isRunning =
    statusOf(status.initContainerStatuses, supervisorContainer)?.state?.running !== undefined &&
    statusOf(status.containerStatuses, scriptContainer)?.state?.running !== undefined;
  return {
    name: metadata.name,
    runnerId,
    serviceUid: labels[podLabels.serviceUid] ?? '',
    serviceVersion,
    ip: isRunning ? status.podIP : undefined,
    leaving: metadata.deletionTimestamp !== undefined,
    ended: endOf(status, image),
    endedInOrder: endedInOrder(status),
    waiting: waitOf(status, image),
  };
}

type Status = NonNullable<V1Pod['status']>;

function statusOf(
  list: readonly V1ContainerStatus[] | undefined,
  name: string,
): V1ContainerStatus | undefined {
  return list?.find((one) => one.name === name);
}

/** What waits in the container ends with 0 when its supervisor lets it. */
function endedInOrder(status: Status): boolean {
  const { terminated } = statusOf(status.containerStatuses, scriptContainer)?.state ?? {};
  return status.reason === undefined && terminated?.exitCode === 0;
}

function endOf(status: Status, image: string): string | undefined {
  const { terminated } = statusOf(status.containerStatuses, scriptContainer)?.state ?? {};
  const isOver = status.phase === 'Failed' || status.phase === 'Succeeded';
  if (terminated === undefined && !isOver) return undefined;
  if (status.reason !== undefined)
    return `The pod was ended by the cluster: ${told(status.reason, status.message)}.`;
  if (terminated?.reason === 'OOMKilled') {
    return 'The container needs more memory than the service has (OOMKilled): raise "memory".';
  }
  if (terminated === undefined) return 'The pod has ended.';
  const fault = isStartError(terminated.reason ?? '') ? imageFault(image, terminated.message) : undefined;
  if (fault !== undefined) return `It cannot be started: ${fault}.`;
  return `The container ended with status ${terminated.exitCode} (${told(terminated.reason, terminated.message)}).`;
}

/** Reasons after which the next try is some time away and nothing new is to be expected. */
const lastingReasons: ReadonlySet<string> = new Set([
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'CrashLoopBackOff',
]);
const imageReasons: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
]);

function waitOf(status: Status, image: string): PodWait | undefined {
  const unscheduled = status.conditions?.find(
    ({ type, status }) => type === 'PodScheduled' && status === 'False',
  );
  if (unscheduled !== undefined) {
    const why = told(unscheduled.reason, unscheduled.message);
    return { lasts: 'node', sentence: `No node of the cluster has room for the pod: ${why}.` };
  }
  const lists = [status.initContainerStatuses ?? [], status.containerStatuses ?? []].flat();
  for (const { name, state } of lists) {
    const { reason = '', message } = state?.waiting ?? {};
    if (reason === '' || reason === 'PodInitializing' || reason === 'ContainerCreating') continue;
    const what = name === scriptContainer ? `image ${image}` : "supervisor's image";
    const does = imageReasons.has(reason)
      ? `The ${what} cannot be pulled`
      : `The container ${name} does not start`;
    const lasts = lastingReasons.has(reason) ? 'long' : 'soon';
    return { lasts, sentence: `${does}: ${told(reason, message)}.` };
  }
  return undefined;
}

const maxTold = 400;

function told(reason: string | undefined, message: string | undefined): string {
  const text = message === undefined || message === '' ? (reason ?? 'no reason given') : message;
  return text.slice(0, maxTold).replace(/\.\s*$/, '');
}
