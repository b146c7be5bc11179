/** The Deployment or StatefulSet that a registry is. */
export interface WorkloadName {
  readonly namespace: string;
  readonly kind: 'deployment' | 'statefulset';
  readonly name: string;
}

const part = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** Reads `namespace/deployment/name`. @returns undefined for what is none */
export function parseWorkload(text: string): WorkloadName | undefined {
  const [namespace = '', kind = '', name = '', ...more] = text.split('/');
  if (more.length > 0 || !part.test(namespace) || !part.test(name)) return undefined;
  return kind === 'deployment' || kind === 'statefulset' ? { namespace, kind, name } : undefined;
}

/** What is read of such an object. */
export interface Workload {
  readonly metadata?: { readonly generation?: number };
  readonly spec?: {
    readonly replicas?: number;
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly strategy?: { readonly type?: string };
    readonly updateStrategy?: { readonly type?: string };
    readonly template?: { readonly spec?: { readonly containers?: readonly { readonly name: string }[] } };
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly currentRevision?: string;
    readonly updateRevision?: string;
  };
}

export interface WorkloadPod {
  readonly metadata?: { readonly name?: string; readonly deletionTimestamp?: string };
  readonly status?: { readonly phase?: string };
}

/**
 * Why a workload can't be switched safely; undefined: it can. A registry that is writable must never run beside one that still collects, so the old pod
 * has to be gone before the new one starts.
 */
export function workloadFault(kind: WorkloadName['kind'], { spec }: Workload): string | undefined {
  if (kind === 'deployment' && spec?.strategy?.type !== 'Recreate')
    return 'its strategy is not "Recreate", so that two registries would run on its storage for a while';
  if (kind === 'statefulset' && spec?.updateStrategy?.type === 'OnDelete')
    return 'its update strategy is "OnDelete", so that its pod would not be replaced';
  if ((spec?.replicas ?? 1) !== 1) return `it has ${spec?.replicas} replicas, not one`;
  if ((spec?.template?.spec?.containers ?? []).length === 0) return 'it has no container';
  return undefined;
}

const readOnlyVariable = 'REGISTRY_STORAGE_MAINTENANCE_READONLY';

/** Replaces the registry's pod by one that is read-only, or writable. @param at makes it another one even if nothing else changes */
export function switchPatch(workload: Workload, isReadOnly: boolean, at: string): object {
  const [container] = workload.spec?.template?.spec?.containers ?? [];
  const env = [{ name: readOnlyVariable, value: JSON.stringify({ enabled: isReadOnly }) }];
  return {
    spec: {
      template: {
        metadata: { annotations: { 'sluice.internal/switched-at': at } },
        spec: { containers: [{ name: container?.name ?? '', env }] },
      },
    },
  };
}

/** Whether the one pod that there is has what was asked for last. */
export function isRolledOut(
  kind: WorkloadName['kind'],
  { metadata, spec, status }: Workload,
  pods: readonly WorkloadPod[],
): boolean {
  const wanted = spec?.replicas ?? 1;
  const isSeen = (status?.observedGeneration ?? -1) >= (metadata?.generation ?? 0);
  const isUpdated = kind === 'deployment' || status?.currentRevision === status?.updateRevision;
  const counts = [status?.replicas, status?.updatedReplicas, status?.availableReplicas];
  return isSeen && isUpdated && counts.every((count) => count === wanted) && pods.length === wanted;
}

/** The pod in which to collect. */
export function runningPod(pods: readonly WorkloadPod[]): string | undefined {
  return pods.find(
    ({ metadata, status }) => metadata?.deletionTimestamp === undefined && status?.phase === 'Running',
  )?.metadata?.name;
}

export function selectorText({ spec }: Workload): string {
  return Object.entries(spec?.selector?.matchLabels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}
