import { expect, test } from 'vitest';
import { pinnedDigests, usedImages } from './image-references.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const hosts = ['registry.internal:5000', '127.0.0.1:32000'];

function used(image: string, user = 'anna', of = hosts) {
  const { tags, digests } = usedImages([{ service: 'resize', image }], of)(user);
  return { tags: Object.fromEntries(tags), digests: Object.fromEntries(digests) };
}

test('by the host of pushes and by that of pulls', () => {
  const expected = { tags: { 'python-1': ['resize'] }, digests: {} };
  expect(used('registry.internal:5000/anna:python-1')).toEqual(expected);
  expect(used('127.0.0.1:32000/anna:python-1')).toEqual(expected);
  expect(used('docker://REGISTRY.internal:5000/anna:python-1')).toEqual(expected);
});

test('by digest, by both, and without either', () => {
  expect(used(`127.0.0.1:32000/anna@${digest}`)).toEqual({ tags: {}, digests: { [digest]: ['resize'] } });
  expect(used(`127.0.0.1:32000/anna:app@${digest}`)).toEqual({
    tags: { app: ['resize'] },
    digests: { [digest]: ['resize'] },
  });
  expect(used('127.0.0.1:32000/anna')).toEqual({ tags: { latest: ['resize'] }, digests: {} });
});

test('other registries, other users, deeper repositories and what is no image do not count', () => {
  const none = { tags: {}, digests: {} };
  expect(used('ghcr.io/anna:python-1')).toEqual(none);
  expect(used('127.0.0.1:32000/ben:python-1')).toEqual(none);
  expect(used('127.0.0.1:32000/anna/cache:python')).toEqual(none);
  expect(used('127.0.0.1:32000/team/anna:python-1')).toEqual(none);
  expect(used('no image at all')).toEqual(none);
});

test('Docker Hub in all its spellings, and a registry below a path', () => {
  const expected = { tags: { app: ['resize'] }, digests: {} };
  for (const image of ['anna:app', 'docker.io/anna:app', 'index.docker.io/library/anna:app'])
    expect(used(image, 'anna', ['docker.io'])).toEqual(expected);
  expect(used('registry.example/team/anna:app', 'anna', ['registry.example/team'])).toEqual(expected);
  expect(used('registry.example/anna:app', 'anna', ['registry.example/team'])).toEqual({
    tags: {},
    digests: {},
  });
});

test('several services of one image', () => {
  const definitions = [
    { service: 'a', image: '127.0.0.1:32000/anna:app' },
    { service: 'b', image: 'registry.internal:5000/anna:app' },
    { service: 'b', image: 'registry.internal:5000/anna:app' },
    { service: 'c', image: 'alpine' },
  ];
  expect(usedImages(definitions, hosts)('anna').tags.get('app')).toEqual(['a', 'b']);
});

test('digests of the whole registry, whoever has them', () => {
  const definitions = [
    { service: 'a', image: `127.0.0.1:32000/anna@${digest}` },
    { service: 'b', image: `registry.internal:5000/anna:app@${digest}` },
    { service: 'c', image: `registry.internal:5000/library/base@${digest}` },
    { service: 'd', image: `ghcr.io/anna@${digest}` },
    { service: 'e', image: '127.0.0.1:32000/ben:app' },
  ];
  expect([...pinnedDigests(definitions, hosts)]).toEqual([
    ['anna', new Set([digest])],
    ['library/base', new Set([digest])],
  ]);
});
