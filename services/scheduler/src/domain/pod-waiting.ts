import type { AttemptOutcome } from '@sluice/shared/contracts';
import type { ContainerView, JobView, PodView } from './kube-views.ts';

/** Why an attempt has not begun, in a sentence for its time line. */
export interface Waiting {
  readonly message: string;
  /** Whether it can end well: `never` is known at once, `unlikely` is given some time, `yes` as long as the Job has. */
  readonly heals: 'yes' | 'unlikely' | 'never';
}

/**
 * @param refused what the cluster said when the Job's pod was to be made, if it was refused
 * @returns undefined where nothing is out of the ordinary
 */
export function waitingOf(
  job: Pick<JobView, 'suspended' | 'queue'> | undefined,
  pod: PodView | undefined,
  refused?: string,
): Waiting | undefined {
  if (pod === undefined) {
    if (job?.suspended === true) return { message: `waits in queue ${job.queue ?? ''}`.trim(), heals: 'yes' };
    if (refused === undefined) return undefined;
    // A quota has room again when others end; what admission denies, it denies again.
    const heals = refused.includes('exceeded quota') ? 'yes' : 'unlikely';
    return { message: `its pod is refused: ${refused}`, heals };
  }
  if (pod.phase !== 'Pending' && pod.phase !== 'Running') return undefined;
  if (pod.unschedulable !== undefined) {
    return { message: `waits for a node: ${pod.unschedulable}`, heals: 'yes' };
  }
  return containerWaits(pod.supervisor, 'the supervisor') ?? containerWaits(pod.script, 'the service');
}

function containerWaits({ waiting, image }: ContainerView, whose: string): Waiting | undefined {
  if (waiting === undefined) return undefined;
  const { reason, message } = waiting;
  const said = message ?? reason;
  switch (reason) {
    case 'InvalidImageName':
      return { message: `the image of ${whose} has an invalid name: ${image ?? said}`, heals: 'never' };
    case 'ErrImageNeverPull':
      return {
        message: `the image of ${whose} is not on the node and is never pulled: ${said}`,
        heals: 'never',
      };
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'RegistryUnavailable':
    case 'ImageInspectError':
    case 'SignatureValidationFailed':
      return { message: `the image ${image ?? ''} of ${whose} cannot be pulled: ${said}`, heals: 'unlikely' };
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
    case 'CrashLoopBackOff':
      return { message: `the container of ${whose} cannot be started: ${said}`, heals: 'unlikely' };
    default:
      // `ContainerCreating`, `PodInitializing`: on its way.
      return undefined;
  }
}

/** The end of an attempt that waited for what does not come. */
export function givenUp({ message }: Waiting): AttemptOutcome {
  return {
    result: 'failed',
    script_started: false,
    outputs: [],
    failure: { code: 'not_started', message },
  };
}
