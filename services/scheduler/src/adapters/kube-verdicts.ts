import { doubt, fault, fine, isAtLeast } from '@sluice/shared/checks';
import type { ComponentCheck } from '@sluice/shared/contracts';

/** A right that is needed, and what does not work without it. */
export interface KubeRight {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  /** Without it scripts do not run. */
  readonly isVital: boolean;
  /** In the namespace of Jobs; else in the whole cluster. */
  readonly isNamespaced: boolean;
}

const workVerbs = ['create', 'delete', 'get', 'list', 'watch'] as const;

/** All that a scheduler does in a cluster. */
export const neededRights: readonly KubeRight[] = [
  ...workVerbs.map((verb) => ({ verb, group: 'batch', resource: 'jobs', isVital: true, isNamespaced: true })),
  ...workVerbs.map((verb) => ({ verb, group: '', resource: 'pods', isVital: true, isNamespaced: true })),
  // Why a pod is not scheduled is said there.
  { verb: 'list', group: '', resource: 'events', isVital: false, isNamespaced: true },
  // For /system/status.
  { verb: 'list', group: '', resource: 'nodes', isVital: false, isNamespaced: false },
];

export function kubeVersionCheck(gitVersion: string): ComponentCheck {
  const name = 'Kubernetes';
  if (isAtLeast(gitVersion, [1, 29]) !== false) return fine(name, `Kubernetes ${gitVersion}.`);
  return fault(
    name,
    `The cluster is Kubernetes ${gitVersion}.`,
    'The supervisor is a sidecar of its pod, which Kubernetes has from 1.29 on: upgrade the cluster, or run scripts in containers (DOCKER_HOST).',
  );
}

/** @param missing rights that the cluster does not give */
export function kubeRightChecks(missing: readonly KubeRight[], namespace: string): readonly ComponentCheck[] {
  const name = 'Kubernetes rights';
  const vital = missing.filter(({ isVital }) => isVital);
  const others = missing.filter(({ isVital }) => !isVital);
  const where = `in the namespace ${namespace}`;
  return [
    vital.length === 0
      ? fine(name, `All that is needed ${where}.`)
      : fault(
          name,
          `The scheduler may not ${listOf(vital)} ${where}.`,
          'Give its service account a Role with these verbs there and a RoleBinding (the Helm chart makes both), or name the right namespace in OSCAR_SERVICES_NAMESPACE.',
        ),
    ...others.map((right) =>
      doubt(
        name,
        `The scheduler may not ${listOf([right])}.`,
        right.resource === 'nodes'
          ? 'Give its service account a ClusterRole with "list nodes"; without it /system/status knows no nodes.'
          : `Give its service account a Role with "list events" ${where}; without it nobody is told why a pod is not placed.`,
      ),
    ),
  ];
}

/** `create, delete jobs and list pods` */
function listOf(rights: readonly KubeRight[]): string {
  const byResource = Map.groupBy(rights, ({ resource }) => resource);
  return [...byResource]
    .map(([resource, of]) => `${of.map(({ verb }) => verb).join(', ')} ${resource}`)
    .join(' and ');
}

/** What was learnt of the namespace of Jobs. */
export type KubeNamespaceFacts =
  | { readonly kind: 'missing' }
  /** What of Pod Security is enforced there; undefined: nothing. */
  | { readonly kind: 'seen'; readonly podSecurity: string | undefined }
  /** It may not be read; a pod as scripts have it was sent for a trial. */
  | { readonly kind: 'tried'; readonly refusal: string | undefined };

export function kubeNamespaceCheck(namespace: string, facts: KubeNamespaceFacts): ComponentCheck {
  const name = 'Kubernetes namespace';
  if (facts.kind === 'missing') {
    return fault(
      name,
      `The namespace ${namespace} is not there.`,
      `Make it (kubectl create namespace ${namespace}), or name another in OSCAR_SERVICES_NAMESPACE.`,
    );
  }
  if (facts.kind === 'seen') {
    const isRestricted = facts.podSecurity === 'restricted';
    return isRestricted ? restricted(name, namespace) : fine(name, `${namespace} is there.`);
  }
  const { refusal } = facts;
  if (refusal === undefined) return fine(name, `${namespace} takes pods.`);
  if (/violates PodSecurity/i.test(refusal)) return restricted(name, namespace);
  return doubt(
    name,
    `The namespace ${namespace} refuses a pod: ${refusal}`,
    'Its quota, its policies or its admission webhooks say so: see kubectl describe namespace.',
  );
}

function restricted(name: string, namespace: string): ComponentCheck {
  return doubt(
    name,
    `Pod Security of the namespace ${namespace} is "restricted": images that run as root are refused there.`,
    `Use images with a numeric USER, or allow them: kubectl label --overwrite namespace ${namespace} pod-security.kubernetes.io/enforce=baseline`,
  );
}
