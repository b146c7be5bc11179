import { createHash } from 'node:crypto';
import type { AttemptRef } from '@sluice/shared/contracts';

/** `.internal` is nobody's domain (ICANN keeps it for private use), so that no other program's labels are like ours. */
const domain = 'sluice.internal';

/** Labels that objects of ours are found by. */
export const podLabels = {
  /** Which installation made it. */
  instance: `${domain}/instance`,
  /** `attempt` or `runner`. */
  kind: `${domain}/kind`,
  service: `${domain}/service`,
  serviceUid: `${domain}/service-uid`,
  serviceVersion: `${domain}/service-version`,
  run: `${domain}/run`,
  attempt: `${domain}/attempt`,
  runner: `${domain}/runner`,
} as const;

export const podAnnotations = {
  /** The whole run id, where it is too long for a label. */
  runId: `${domain}/run-id`,
  /** The whole id of a runner. */
  runnerId: `${domain}/runner-id`,
  /** The run as JSON: what a lost ledger is restored from. */
  run: `${domain}/run`,
  /** `omitted` where the run's event was too large to be kept with it. */
  event: `${domain}/event`,
} as const;

/** Whether a key is of the kind that only we set. */
export function isOurKey(key: string): boolean {
  return key.startsWith(`${domain}/`);
}

export type PodKind = 'attempt' | 'runner';

/** Selects what one installation made of one kind. */
export function podSelector(instance: string, kind: PodKind): string {
  return `${podLabels.instance}=${labelValue(instance)},${podLabels.kind}=${kind}`;
}

const labelForm = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** A text as the value of a label: itself where Kubernetes takes it, else what can be kept of it with a hash. */
export function labelValue(text: string): string {
  if (text === '' || labelForm.test(text)) return text;
  const kept = text.replaceAll(/[^A-Za-z0-9]+/g, '-').replace(/^-/, '');
  return `${kept.slice(0, 40)}-${hash([text], 16)}`.replace(/^-/, '');
}

/** Which attempt an object of ours belongs to; undefined for one that does not say. */
export function attemptOf(metadata: {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}): AttemptRef | undefined {
  const runId = metadata.annotations?.[podAnnotations.runId] ?? metadata.labels?.[podLabels.run];
  const attempt = Number(metadata.labels?.[podLabels.attempt]);
  return runId === undefined || !Number.isInteger(attempt) ? undefined : { run_id: runId, attempt };
}

/**
 * The Job of an attempt, always by the same name: a DNS label of at most 63 characters, the end of which keeps apart what the readable front does not.
 * @param instance the installation: two may share a namespace
 */
export function jobName(instance: string, ref: AttemptRef): string {
  const exact = hash([instance, ref.run_id, `${ref.attempt}`], 20);
  return `${readable(ref.run_id) || 'run'}-${exact}-${Math.min(ref.attempt, 9999)}`;
}

/** The pod of a runner, always by the same name; other than any Job's pod. */
export function runnerPodName(instance: string, runnerId: string): string {
  return `${readable(runnerId) || 'runner'}-${hash([instance, 'runner', runnerId], 20)}`;
}

function readable(id: string): string {
  return id
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 36)
    .replaceAll(/^-+|-+$/g, '');
}

function hash(parts: readonly string[], characters: number): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, characters);
}
