import type { ServiceDefinition } from '@sluice/shared/contracts';
import { podSecurity, type ImageFacts } from './pod-security.ts';

/** What a local executor has scripts run as. */
export type LocalKind = 'process' | 'container';

/** What of a definition is accepted and not done, in sentences for whoever applies it. */
export function ignoredBy(kind: LocalKind, definition: ServiceDefinition): readonly string[] {
  return [
    ...(kind === 'process' ? ofProcesses(definition) : ofContainers(definition)),
    ...ofOneMachine(definition),
  ];
}

/** The same of pods; with it, under which user a script runs where that is not the safest way. */
export function ignoredOnKubernetes(
  definition: ServiceDefinition,
  facts: ImageFacts | undefined,
): readonly string[] {
  return [...ofPods(definition, facts)];
}

function* ofPods(definition: ServiceDefinition, facts: ImageFacts | undefined): Iterable<string> {
  const security = podSecurity(definition.sluice?.run_as, facts);
  if (security.level !== 'restricted') yield security.sentence;
  if (definition.sluice?.network === false) {
    yield 'sluice.network is not used: a pod needs its network for its files';
  }
  if (definition.enable_sgx) {
    yield 'enable_sgx asks for a node with SGX, but its container is not given SYS_RAWIO';
  }
}

/** Keys that only a cluster can follow. */
const clusterOptions = [
  'run_as',
  'node_selector',
  'tolerations',
  'priority_class',
  'queue',
  'volumes',
] as const;

function* ofOneMachine({ sluice = {}, volume }: ServiceDefinition): Iterable<string> {
  for (const option of clusterOptions) {
    if (sluice[option] !== undefined) yield `sluice.${option} is not used: it is for Kubernetes`;
  }
  if (volume !== undefined) yield 'volume is not used: it is for Kubernetes';
}

function* ofProcesses(definition: ServiceDefinition): Iterable<string> {
  const { image, sluice = {} } = definition;
  if (image !== '') yield 'image is not used: scripts run as processes of this machine';
  if (sluice.image_pull_policy !== undefined) {
    yield 'sluice.image_pull_policy is not used: scripts run as processes of this machine';
  }
  if (sluice.network === false) {
    yield 'sluice.network is not used: scripts run as processes of this machine and have its network';
  }
}

function* ofContainers(definition: ServiceDefinition): Iterable<string> {
  if (definition.enable_gpu) yield 'enable_gpu is not used: containers get no GPU';
  if (definition.enable_sgx) yield 'enable_sgx is not used: containers get no SGX enclave';
  if ((definition.image_pull_secrets ?? []).length > 0) {
    yield "image_pull_secrets is not used: images are pulled with the logins of the server's Docker config file";
  }
  if (!['', '0'].includes(definition.ephemeral_storage_request)) {
    yield 'ephemeral_storage_request is not used: what a container writes is not limited';
  }
}
