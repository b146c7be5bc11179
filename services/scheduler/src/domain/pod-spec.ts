import type {
  V1Container,
  V1EnvVar,
  V1PodSpec,
  V1PodTemplateSpec,
  V1ResourceRequirements,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import {
  parseImage,
  parseQuantity,
  podFolder,
  podShim,
  podVariables,
  type ServiceDefinition,
} from '@sluice/shared/contracts';
import { isOurKey, labelValue, podLabels, type PodKind } from './pod-labels.ts';
import { podSecurity, type ImageFacts, type PodSecurity } from './pod-security.ts';

/** What all pods of an installation have in common. */
export interface PodSettings {
  /** The installation, by which its objects are told from those of others in the namespace. */
  readonly instance: string;
  readonly supervisorImage: string;
  /** @default IfNotPresent */
  readonly supervisorPullPolicy?: string;
  /** As pods reach the scheduler. */
  readonly schedulerUrl: string;
  /** Quantities for the supervisor. @default 10m and 64Mi, up to 1 and 128Mi, 512Mi for a runner's */
  readonly supervisorResources?: V1ResourceRequirements;
  /** Seconds between being asked to end and being killed. @default 30 */
  readonly graceSeconds?: number;
  /** Bytes of a node's disk that one pod may fill, in its own folders and the shared one together. @default 50 GiB */
  readonly diskBytes?: number;
}

/** What one pod is for. */
export interface PodPurpose {
  readonly kind: PodKind;
  readonly definition: ServiceDefinition;
  readonly serviceUid: string;
  readonly serviceVersion: number;
  readonly image: ImageFacts | undefined;
  /** The pod's token, which is all that a pod is trusted with. */
  readonly token: string;
  /** Variables (`podVariables`) that tell the supervisor what the pod is for, beside those that every pod has. */
  readonly environment: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Port that the supervisor listens on. */
  readonly port?: number;
}

export const scriptContainer = 'oscar-container';
export const supervisorContainer = 'sluice-supervisor';

/** Shared by the two containers. */
const folder: V1VolumeMount = { name: 'sluice', mountPath: podFolder };

/** Pod of an attempt or a runner: the supervisor as a native sidecar, the user's image as the main container (OSCAR §4.3 for its name and what it gets). */
export function podTemplate(purpose: PodPurpose, settings: PodSettings): V1PodTemplateSpec {
  const { definition } = purpose;
  return {
    metadata: {
      labels: podLabelsOf(purpose, settings),
      annotations: { ...notOurs(definition.annotations), ...purpose.annotations },
    },
    spec: podSpec(purpose, settings),
  };
}

/** Labels of a pod, and of whatever it belongs to. */
export function podLabelsOf(
  {
    kind,
    definition,
    serviceUid,
    serviceVersion,
    labels,
  }: Pick<PodPurpose, 'kind' | 'definition' | 'serviceUid' | 'serviceVersion' | 'labels'>,
  { instance }: Pick<PodSettings, 'instance'>,
): Record<string, string> {
  const { queue } = definition.sluice ?? {};
  return {
    ...notOurs(definition.labels),
    ...(definition.owner === '' ? {} : { 'oscar.grycap/job-owner': labelValue(definition.owner) }),
    ...(queue === undefined ? {} : { 'kueue.x-k8s.io/queue-name': queue }),
    [podLabels.instance]: labelValue(instance),
    [podLabels.kind]: kind,
    [podLabels.service]: labelValue(definition.name),
    [podLabels.serviceUid]: labelValue(serviceUid),
    [podLabels.serviceVersion]: `${serviceVersion}`,
    ...labels,
  };
}

/** What users set, without what would make an object of theirs look like another of ours. */
function notOurs(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).filter(([key]) => !isOurKey(key)));
}

function podSpec(purpose: PodPurpose, settings: PodSettings): V1PodSpec {
  const { definition, image } = purpose;
  const { sluice = {}, image_pull_secrets: pullSecrets = [] } = definition;
  const security = podSecurity(sluice.run_as, image);
  const claims = claimsOf(definition);
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: graceOf(settings),
    securityContext: security.pod,
    ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
    ...(sluice.node_selector === undefined ? {} : { nodeSelector: sluice.node_selector }),
    ...(sluice.tolerations === undefined ? {} : { tolerations: sluice.tolerations.map(tolerationOf) }),
    ...(sluice.priority_class === undefined ? {} : { priorityClassName: sluice.priority_class }),
    initContainers: [supervisor(purpose, settings, security)],
    containers: [script(purpose, settings, security, claims)],
    volumes: [
      { name: folder.name, emptyDir: { sizeLimit: diskLimit(definition, settings) } },
      ...volumesOf(claims),
    ],
  };
}

function graceOf({ graceSeconds = 30 }: PodSettings): number {
  return graceSeconds;
}

function supervisor(purpose: PodPurpose, settings: PodSettings, security: PodSecurity): V1Container {
  const values = {
    [podVariables.mode]: purpose.kind === 'attempt' ? 'run' : 'runner',
    [podVariables.schedulerUrl]: settings.schedulerUrl,
    [podVariables.instance]: settings.instance,
    [podVariables.graceSeconds]: `${graceOf(settings)}`,
    ...purpose.environment,
    [podVariables.token]: purpose.token,
  };
  return {
    name: supervisorContainer,
    image: settings.supervisorImage,
    imagePullPolicy: settings.supervisorPullPolicy ?? 'IfNotPresent',
    // A native sidecar: it starts before the script's container, is started again should it die, and is ended after it.
    restartPolicy: 'Always',
    env: [
      ...Object.entries(values).map(([name, value]): V1EnvVar => ({ name, value })),
      { name: podVariables.pod, valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
    ...(purpose.port === undefined ? {} : { ports: [{ name: 'calls', containerPort: purpose.port }] }),
    resources: settings.supervisorResources ?? {
      requests: { cpu: '10m', memory: '64Mi' },
      // Measured: 34 MB and what the kernel keeps of files, whatever the size of inputs and outputs; a runner holds its calls' answers, 64 MiB each.
      limits: { cpu: '1', memory: purpose.kind === 'attempt' ? '128Mi' : '512Mi' },
    },
    volumeMounts: [folder],
    securityContext: security.supervisor,
  };
}

const defaultDiskBytes = 50 * 1024 ** 3;

/** What the cluster ends a pod for that fills its node's disk; never less than the service asks for. */
function diskLimit(
  { ephemeral_storage_request: wanted }: ServiceDefinition,
  { diskBytes = defaultDiskBytes }: PodSettings,
): string {
  return (parseQuantity(wanted) ?? 0) > diskBytes ? wanted : `${diskBytes}`;
}

function script(
  { definition, image }: PodPurpose,
  settings: PodSettings,
  security: PodSecurity,
  claims: readonly Claim[],
): V1Container {
  return {
    name: scriptContainer,
    ...imageOf(definition, image),
    command: ['/bin/sh', '-c', podShim],
    // OSCAR §4.3. All else that a script finds in its environment comes by the supervisor.
    env: [{ name: 'RESOURCE_ID', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
    resources: resourcesOf(definition, settings),
    volumeMounts: [
      folder,
      ...claims.map(({ path, readOnly }, index): V1VolumeMount => ({
        name: claimName(index),
        mountPath: path,
        ...(readOnly ? { readOnly } : {}),
      })),
    ],
    securityContext: security.script,
  };
}

/** The image by the digest that its tag stood for, so that all pods of a version run the same; by its tag where nobody could tell. */
function imageOf(
  definition: ServiceDefinition,
  facts: ImageFacts | undefined,
): Required<Pick<V1Container, 'image' | 'imagePullPolicy'>> {
  const image = definition.image.replace(/^docker:\/\//, '');
  const named = parseImage(image);
  const byDigest = named?.digest !== undefined;
  return {
    image: byDigest || facts?.digest === undefined ? image : `${image}@${facts.digest}`,
    imagePullPolicy: definition.sluice?.image_pull_policy ?? (byDigest ? 'IfNotPresent' : 'Always'),
  };
}

function resourcesOf(definition: ServiceDefinition, settings: PodSettings): V1ResourceRequirements {
  const { ephemeral_storage_request: disk } = definition;
  const both = {
    cpu: quantityOr(definition.cpu, '0.2'),
    memory: quantityOr(definition.memory, '256Mi'),
  };
  return {
    limits: {
      ...both,
      'ephemeral-storage': diskLimit(definition, settings),
      ...(definition.enable_gpu ? { 'nvidia.com/gpu': '1' } : {}),
      ...(definition.enable_sgx ? { 'sgx.intel.com/enclave': '1' } : {}),
    },
    // Where none is named the limit would count as one, and no node might have so much.
    requests: { ...both, 'ephemeral-storage': (parseQuantity(disk) ?? 0) > 0 ? disk : '0' },
  };
}

/** OSCAR's default (§2.1) for what is no amount. */
function quantityOr(text: string, fallback: string): string {
  return (parseQuantity(text) ?? 0) > 0 ? text : fallback;
}

type Toleration = NonNullable<NonNullable<ServiceDefinition['sluice']>['tolerations']>[number];

function tolerationOf({
  toleration_seconds: seconds,
  ...toleration
}: Toleration): NonNullable<V1PodSpec['tolerations']>[number] {
  return { ...toleration, ...(seconds === undefined ? {} : { tolerationSeconds: seconds }) };
}

interface Claim {
  readonly claim: string;
  readonly path: string;
  readonly readOnly: boolean;
}

/** Disks that are there already: OSCAR's `volume` by its name, then `sluice.volumes`. */
function claimsOf({ volume, sluice }: ServiceDefinition): readonly Claim[] {
  const claims = (sluice?.volumes ?? []).map(
    ({ claim, mount_path: path, read_only: readOnly = false }): Claim => ({ claim, path, readOnly }),
  );
  if (volume?.name === undefined || volume.name === '') return claims;
  return [{ claim: volume.name, path: volume.mount_path, readOnly: false }, ...claims];
}

/** A volume for each mount: the same claim may be mounted twice, once for reading only. */
function volumesOf(claims: readonly Claim[]): V1Volume[] {
  return claims.map(({ claim, readOnly }, index) => ({
    name: claimName(index),
    persistentVolumeClaim: { claimName: claim, ...(readOnly ? { readOnly } : {}) },
  }));
}

function claimName(index: number): string {
  return `volume-${index}`;
}
