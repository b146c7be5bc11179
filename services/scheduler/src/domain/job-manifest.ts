import type { V1Job } from '@kubernetes/client-node';
import { podVariables, type AttemptPlan, type Run } from '@sluice/shared/contracts';
import { jobName, labelValue, podAnnotations, podLabels } from './pod-labels.ts';
import type { ImageFacts } from './pod-security.ts';
import { podLabelsOf, podTemplate, type PodPurpose, type PodSettings } from './pod-spec.ts';
import { runAnnotations } from './run-annotation.ts';

export interface JobSettings extends PodSettings {
  /** Seconds that a Job is kept after its end, for people to look at. @default 300 */
  readonly ttlSeconds?: number;
  /** Seconds that a pod may wait for a node and its images. @default 86400 */
  readonly waitSeconds?: number;
  /** Seconds that fetching the input and uploading outputs may take together. @default 3600 */
  readonly transferSeconds?: number;
}

export interface JobParts {
  readonly plan: AttemptPlan;
  /** Kept beside the attempt, to restore a lost ledger from. */
  readonly run: Run | undefined;
  readonly token: string;
  readonly image: ImageFacts | undefined;
}

/**
 * Seconds from a Job's start to its end at the latest. The supervisor keeps to the script's time-out; this ends what has no living supervisor, and what never got to run.
 */
export function deadlineSeconds(plan: Pick<AttemptPlan, 'timeout_ms'>, settings: JobSettings): number {
  const { waitSeconds = 86_400, transferSeconds = 3600 } = settings;
  return Math.ceil(plan.timeout_ms / 1000) + waitSeconds + transferSeconds;
}

/** The Job of one attempt (OSCAR §4.3, with the supervisor as a sidecar). */
export function jobManifest({ plan, run, token, image }: JobParts, settings: JobSettings): V1Job {
  const ref = { run_id: plan.run_id, attempt: plan.attempt };
  const runLabel = labelValue(plan.run_id);
  const labels = { [podLabels.run]: runLabel, [podLabels.attempt]: `${plan.attempt}` };
  const purpose: PodPurpose = {
    kind: 'attempt',
    definition: plan.definition,
    serviceUid: plan.service_uid,
    serviceVersion: plan.service_version,
    image,
    token,
    environment: { [podVariables.runId]: plan.run_id, [podVariables.attempt]: `${plan.attempt}` },
    labels,
    annotations: runLabel === plan.run_id ? {} : { [podAnnotations.runId]: plan.run_id },
  };
  const template = podTemplate(purpose, settings);
  const annotations = template.metadata?.annotations ?? {};
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: jobName(settings.instance, ref),
      labels: podLabelsOf(purpose, settings),
      // On the Job alone: its pod has no use for the run.
      annotations: { ...annotations, ...runAnnotations(run, annotations) },
    },
    spec: {
      // What is tried again is a new attempt, with a Job of its own.
      backoffLimit: 0,
      podReplacementPolicy: 'Failed',
      ttlSecondsAfterFinished: settings.ttlSeconds ?? 300,
      activeDeadlineSeconds: deadlineSeconds(plan, settings),
      template,
    },
  };
}
