import { expect, test } from 'vitest';
import { parseImageReference } from './image-reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const hub = 'https://index.docker.io/v1/';

test.each([
  ['busybox', 'busybox:latest', 'busybox', 'latest', false, hub],
  ['docker://busybox:1.36', 'busybox:1.36', 'busybox', '1.36', false, hub],
  [
    'docker.io/library/busybox',
    'docker.io/library/busybox:latest',
    'docker.io/library/busybox',
    'latest',
    false,
    hub,
  ],
  ['localhost/a', 'localhost/a:latest', 'localhost/a', 'latest', false, 'localhost'],
  [
    '127.0.0.1:5000/a/b',
    '127.0.0.1:5000/a/b:latest',
    '127.0.0.1:5000/a/b',
    'latest',
    false,
    '127.0.0.1:5000',
  ],
  ['ghcr.io/a/b_c-d:V1', 'ghcr.io/a/b_c-d:V1', 'ghcr.io/a/b_c-d', 'V1', false, 'ghcr.io'],
  [`ghcr.io/a@${digest}`, `ghcr.io/a@${digest}`, 'ghcr.io/a', digest, true, 'ghcr.io'],
  [`ghcr.io/a:1@${digest}`, `ghcr.io/a@${digest}`, 'ghcr.io/a', digest, true, 'ghcr.io'],
])('%s is taken apart', (image, text, name, version, pinned, registry) => {
  expect(parseImageReference(image)).toEqual({ text, name, version, pinned, registry });
});

test.each([
  '',
  'docker://',
  'Upper',
  'a//b',
  '/a',
  'a:',
  'a:b:c',
  'a@sha256:short',
  `a@${digest}@${digest}`,
  'a b',
  'http://ghcr.io/a',
  'ghcr.io/',
  '-rm',
  'a:-b',
])('%j is no image', (image) => {
  expect(parseImageReference(image)).toBeUndefined();
});
