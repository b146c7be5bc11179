import { stoppedAnnotation, type RunnerState } from '@sluice/shared/contracts';
import type { StoredDefinition } from '@sluice/shared/stores';
import { Type, type Static } from 'typebox';
import { kubeTime } from './job-list.ts';

/** OSCAR §1.6, without the two keys that `?include=deployment` leaves out. */
export const Deployment = Type.Object({
  state: Type.String(),
  reason: Type.Optional(Type.String()),
  last_transition_time: Type.Optional(Type.String()),
  active_instances: Type.Integer(),
  affected_instances: Type.Integer(),
  resource_kind: Type.String(),
});
export type Deployment = Static<typeof Deployment>;

/** OSCAR §1.6. */
export const DeploymentStatus = Type.Object({
  service_name: Type.String(),
  namespace: Type.String(),
  ...Deployment.properties,
});
export type DeploymentStatus = Static<typeof DeploymentStatus>;

const maxReason = 500;

/**
 * The runtime of a service in OSCAR's words: its warm runners, shown as the kind that OSCAR has for calls. What the definition
 * says counts before what the scheduler said last, so that a stop or a start shows at once.
 * @param runners what the scheduler said of the service; undefined where it said nothing
 */
export function deploymentOf(
  stored: Pick<StoredDefinition, 'definition' | 'updated_at'>,
  runners: RunnerState | undefined,
): Deployment {
  const live = (runners?.runners ?? []).filter(({ state }) => state !== 'ended');
  if (isStopped(stored)) {
    return {
      state: 'stopped',
      reason: 'Deployment is stopped.',
      last_transition_time: kubeTime(runners?.state === 'stopped' ? runners.since : stored.updated_at),
      active_instances: live.length,
      affected_instances: 0,
      resource_kind: 'knative_service',
    };
  }
  if (runners === undefined) return unknown;
  const ready = live.filter(({ state }) => state === 'ready').length;
  const all = Math.max(runners.desired, live.length);
  // Started a moment ago: the scheduler has not said so yet.
  const state = runners.state === 'stopped' ? 'pending' : runners.state;
  const affected = state === 'ready' ? 0 : all - ready;
  return {
    state,
    reason: (runners.state === 'stopped' ? '' : oneLine(runners.reason)) || reasonOf(state, affected, all),
    last_transition_time: kubeTime(runners.since),
    active_instances: live.length,
    affected_instances: affected,
    resource_kind: 'knative_service',
  };
}

/** The same with the service's name, as the routes of one service have it. */
export function deploymentStatus(
  stored: StoredDefinition,
  runners: RunnerState | undefined,
): DeploymentStatus {
  const { name, definition } = stored;
  return { service_name: name, namespace: definition.namespace ?? '', ...deploymentOf(stored, runners) };
}

export function isStopped({ definition }: Pick<StoredDefinition, 'definition'>): boolean {
  return definition.annotations[stoppedAnnotation] === 'true';
}

const unknown: Deployment = {
  state: 'unavailable',
  reason: 'Current deployment visibility is unavailable for this service runtime.',
  active_instances: 0,
  affected_instances: 0,
  resource_kind: 'unavailable',
};

function reasonOf(state: string, affected: number, all: number): string {
  switch (state) {
    case 'ready':
      return 'Runtime service is ready.';
    case 'pending':
      return 'Runtime service is still reconciling.';
    case 'degraded':
      return `${affected} of ${all} instances are affected.`;
    default:
      return 'Runtime service is not ready.';
  }
}

/** As OSCAR cuts a message: its first line, white space collapsed. */
function oneLine(text: string): string {
  const [first = ''] = text.trim().split(/[\r\n]/, 1);
  return first.replaceAll(/\s+/g, ' ').slice(0, maxReason);
}
