import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { ignoredBy } from './ignored.ts';

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
