import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { ignoredBy, ignoredOnKubernetes } from './ignored.ts';

const rich = definitionOf('demo', {
  image: 'busybox',
  enable_gpu: true,
  enable_sgx: true,
  image_pull_secrets: ['key'],
  ephemeral_storage_request: '1Gi',
  sluice: { image_pull_policy: 'Always', network: false },
});
const namesOf = (sentences: readonly string[]) => sentences.map((one) => one.split(' ')[0]);

test('each kind says what it does not do of a definition', () => {
  expect(namesOf(ignoredBy('process', rich))).toEqual([
    'image',
    'sluice.image_pull_policy',
    'sluice.network',
  ]);
  expect(namesOf(ignoredBy('container', rich))).toEqual([
    'enable_gpu',
    'enable_sgx',
    'image_pull_secrets',
    'ephemeral_storage_request',
  ]);
});

test('nothing is said of what was not asked for', () => {
  expect(ignoredBy('process', definitionOf('demo', { image: '' }))).toEqual([]);
  expect(ignoredBy('container', definitionOf('demo', { image: 'busybox' }))).toEqual([]);
});

test('what is for a cluster is said to be for one', () => {
  const clustered = definitionOf('demo', {
    image: '',
    volume: { name: 'a', size: '', mount_path: '/a' },
    sluice: {
      run_as: '1000',
      node_selector: {},
      tolerations: [],
      priority_class: 'low',
      queue: 'q',
      volumes: [],
    },
  });
  const said = [
    'sluice.run_as',
    'sluice.node_selector',
    'sluice.tolerations',
    'sluice.priority_class',
    'sluice.queue',
    'sluice.volumes',
    'volume',
  ];
  expect(namesOf(ignoredBy('process', clustered))).toEqual(said);
  expect(namesOf(ignoredBy('container', clustered))).toEqual(said);
  expect(ignoredOnKubernetes(clustered, undefined)).toEqual([]);
});

test('pods say under which user they run where that may be root, and what they do not do', () => {
  expect(ignoredOnKubernetes(rich, { user: '' })).toEqual([
    'runs as root, its image\'s user (sluice.run_as names another), Pod Security "baseline"',
    'sluice.network is not used: a pod needs its network for its files',
    'enable_sgx asks for a node with SGX, but its container is not given SYS_RAWIO',
  ]);
});
