import { expect, test } from 'vitest';
import { buildKey, contentTag, ensureId, isContentTag } from './build-key.ts';

const spec = {
  user: 'anna',
  repository: 'r/anna',
  kind: 'python',
  baseDigest: 'sha256:1',
  toolImage: '',
  file: 'six\n',
  platforms: ['linux/amd64', 'linux/arm64'],
  sbom: false,
  provenance: false,
};

test('the same content has the same key, whatever order platforms are named in', () => {
  expect(buildKey({ ...spec, platforms: ['linux/arm64', 'linux/amd64'] }, 1)).toBe(buildKey(spec, 1));
  expect(buildKey(spec, 1)).toMatch(/^[0-9a-f]{64}$/);
});

test.each([
  { user: 'otto' },
  { repository: 'q/anna' },
  { kind: 'nodejs' },
  { baseDigest: 'sha256:2' },
  { toolImage: 'maven:3' },
  { file: 'six' },
  { file: '' },
  { file: undefined },
  { file: 'none' },
  { platforms: [] },
  { sbom: true },
  { provenance: true },
])('another key for %j', (change) => {
  expect(buildKey({ ...spec, ...change }, 1)).not.toBe(buildKey(spec, 1));
});

test('a recipe of another version makes another image', () => {
  expect(buildKey(spec, 2)).not.toBe(buildKey(spec, 1));
});

test('no file and an empty one are two things', () => {
  expect(buildKey({ ...spec, file: undefined }, 1)).not.toBe(buildKey({ ...spec, file: '' }, 1));
});

test('content tags are told from those of users', () => {
  expect(contentTag('python', '0123456789abcdef0123456789')).toBe('sluice-python-0123456789abcdef0123');
  expect(isContentTag(contentTag('go', 'a'.repeat(64)))).toBe(true);
  expect(isContentTag('python-0123456789abcdef0123')).toBe(false);
});

test('the id of a request by content is the hash that the original makes', () => {
  // printf 'openserverless-runtime-builder-v1\0python:3\0python\0img\0six' | sha256sum
  expect(ensureId('python:3', 'python', 'img', 'six')).toBe(
    '956abe61840231142664e27469c3202d5c8b498069164522f55d67ab385016f7',
  );
});
