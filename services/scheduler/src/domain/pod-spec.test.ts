import { podShim, type SluiceOptions } from '@sluice/shared/contracts';
import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { podLabelsOf, podTemplate, type PodPurpose, type PodSettings } from './pod-spec.ts';

const settings: PodSettings = {
  instance: 'sluice',
  supervisorImage: 'registry.example/supervisor:1',
  schedulerUrl: 'http://scheduler:8081',
};

function purposeOf(
  definition: Parameters<typeof definitionOf>[1],
  sluice?: SluiceOptions,
  more: Partial<PodPurpose> = {},
): PodPurpose {
  return {
    kind: 'attempt',
    definition: {
      ...definitionOf('demo', { input: [], output: [], ...definition }),
      ...(sluice === undefined ? {} : { sluice }),
    },
    serviceUid: 'uid-1',
    serviceVersion: 3,
    image: undefined,
    token: 'the-token',
    environment: { SLUICE_RUN_ID: 'demo-1', SLUICE_ATTEMPT: '2' },
    labels: { 'sluice.internal/run': 'demo-1' },
    annotations: { 'sluice.internal/run': '{}' },
    ...more,
  };
}

const plain = { image: 'busybox', cpu: '0.5', memory: '64Mi', owner: '', labels: {}, annotations: {} };

test('a pod has the supervisor beside the script, and of secrets its token alone', () => {
  expect(podTemplate(purposeOf(plain), settings)).toEqual({
    metadata: {
      labels: {
        'sluice.internal/instance': 'sluice',
        'sluice.internal/kind': 'attempt',
        'sluice.internal/service': 'demo',
        'sluice.internal/service-uid': 'uid-1',
        'sluice.internal/service-version': '3',
        'sluice.internal/run': 'demo-1',
      },
      annotations: { 'sluice.internal/run': '{}' },
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 30,
      securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
      initContainers: [
        {
          name: 'sluice-supervisor',
          image: 'registry.example/supervisor:1',
          imagePullPolicy: 'IfNotPresent',
          restartPolicy: 'Always',
          env: [
            { name: 'SLUICE_POD_MODE', value: 'run' },
            { name: 'SLUICE_SCHEDULER_URL', value: 'http://scheduler:8081' },
            { name: 'SLUICE_INSTANCE', value: 'sluice' },
            { name: 'SLUICE_POD_GRACE', value: '30' },
            { name: 'SLUICE_RUN_ID', value: 'demo-1' },
            { name: 'SLUICE_ATTEMPT', value: '2' },
            { name: 'SLUICE_POD_TOKEN', value: 'the-token' },
            { name: 'SLUICE_POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
          ],
          resources: {
            requests: { cpu: '10m', memory: '64Mi' },
            limits: { cpu: '1', memory: '128Mi' },
          },
          volumeMounts: [{ name: 'sluice', mountPath: '/sluice' }],
          securityContext: {
            runAsUser: 0,
            runAsGroup: 0,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'], add: ['DAC_OVERRIDE'] },
            readOnlyRootFilesystem: true,
          },
        },
      ],
      containers: [
        {
          name: 'oscar-container',
          image: 'busybox',
          imagePullPolicy: 'Always',
          command: ['/bin/sh', '-c', podShim],
          env: [{ name: 'RESOURCE_ID', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
          resources: {
            limits: { cpu: '0.5', memory: '64Mi', 'ephemeral-storage': '53687091200' },
            requests: { cpu: '0.5', memory: '64Mi', 'ephemeral-storage': '0' },
          },
          volumeMounts: [{ name: 'sluice', mountPath: '/sluice' }],
          securityContext: { allowPrivilegeEscalation: false },
        },
      ],
      volumes: [{ name: 'sluice', emptyDir: { sizeLimit: '53687091200' } }],
    },
  });
});

test('with a known user both containers run under it, restricted', () => {
  const pod = podTemplate(purposeOf(plain, { run_as: '1000:2000' }), settings);
  expect(pod.spec?.securityContext).toEqual({
    runAsNonRoot: true,
    runAsUser: 1000,
    runAsGroup: 2000,
    fsGroup: 2000,
    seccompProfile: { type: 'RuntimeDefault' },
  });
  const container = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
  expect(pod.spec?.initContainers?.[0]?.securityContext).toEqual({
    ...container,
    readOnlyRootFilesystem: true,
  });
  expect(pod.spec?.containers[0]?.securityContext).toEqual(container);
});

test('all that a definition may ask of a cluster', () => {
  const pod = podTemplate(
    purposeOf(
      {
        ...plain,
        image: 'docker://registry.example/team/tool:1',
        enable_gpu: true,
        ephemeral_storage_request: '2Gi',
        image_pull_secrets: ['pull'],
        volume: { name: 'models', size: '', mount_path: '/models' },
      },
      {
        image_pull_policy: 'IfNotPresent',
        node_selector: { disk: 'ssd' },
        tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoExecute', toleration_seconds: 60 }],
        priority_class: 'batch',
        queue: 'team-queue',
        volumes: [{ claim: 'data', mount_path: '/data', read_only: true }],
      },
      { image: { user: '', digest: `sha256:${'a'.repeat(64)}` } },
    ),
    // The service's own request is never cut.
    { ...settings, diskBytes: 1024 ** 3 },
  );
  expect(pod.metadata?.labels).toMatchObject({ 'kueue.x-k8s.io/queue-name': 'team-queue' });
  expect(pod.spec).toMatchObject({
    imagePullSecrets: [{ name: 'pull' }],
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 60 }],
    priorityClassName: 'batch',
    volumes: [
      { name: 'sluice', emptyDir: { sizeLimit: '2Gi' } },
      { name: 'volume-0', persistentVolumeClaim: { claimName: 'models' } },
      { name: 'volume-1', persistentVolumeClaim: { claimName: 'data', readOnly: true } },
    ],
    containers: [
      {
        image: `registry.example/team/tool:1@sha256:${'a'.repeat(64)}`,
        imagePullPolicy: 'IfNotPresent',
        resources: {
          limits: { cpu: '0.5', memory: '64Mi', 'ephemeral-storage': '2Gi', 'nvidia.com/gpu': '1' },
          requests: { cpu: '0.5', memory: '64Mi', 'ephemeral-storage': '2Gi' },
        },
        volumeMounts: [
          { name: 'sluice', mountPath: '/sluice' },
          { name: 'volume-0', mountPath: '/models' },
          { name: 'volume-1', mountPath: '/data', readOnly: true },
        ],
      },
    ],
  });
});

test('what users set never makes their pod look like another of ours', () => {
  const labels = podLabelsOf(
    purposeOf({
      ...plain,
      owner: 'someone@example.org',
      labels: { team: 'a', 'sluice.internal/kind': 'runner', 'sluice.internal/x': 'y' },
    }),
    settings,
  );
  expect(labels).toMatchObject({ team: 'a', 'sluice.internal/kind': 'attempt' });
  expect(labels).not.toHaveProperty('sluice.internal/x');
  expect(labels['oscar.grycap/job-owner']).toMatch(/^someone-example-org-[0-9a-f]{16}$/);
});
