import type { BuildCaller, BuildRequest } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import { expect, test } from 'vitest';
import { checkRequest, pinned, referenceOf, type RequestRules } from './request.ts';

const anna: BuildCaller = { login: 'anna', admin: false, env: {} };
const rules: RequestRules = {
  bases: [],
  ownRegistries: ['registry.test:5000', 'pull.test:32000'],
  fileBytes: 1000,
  isInner: (registry) => registry.startsWith('10.'),
};
const good: BuildRequest = {
  source: 'python:3.11-slim',
  target: 'anna:tools',
  kind: 'python',
  file: 'six\n',
};

function refusal(change: Partial<BuildRequest>, more: Partial<RequestRules> = {}): unknown {
  try {
    checkRequest(anna, { ...good, ...change }, { ...rules, ...more });
  } catch (error) {
    if (isAppError(error)) return [error.code, error.field];
    throw error;
  }
  return undefined;
}

test('a sound request', () => {
  const checked = checkRequest(anna, good, rules);
  expect(checked).toMatchObject({ kind: 'python', tag: 'tools', file: 'six\n', force: false, platforms: [] });
  expect(referenceOf(checked.source)).toBe('docker.io/library/python:3.11-slim');
  expect(pinned(checked.source, 'sha256:abc')).toBe('docker.io/library/python@sha256:abc');
  expect(checkRequest(anna, { ...good, target: 'anna' }, rules).tag).toBe('latest');
});

test.each([
  'anna:a;touch /tmp/x',
  'anna:$(id)',
  'anna:a,name=otto:b',
  'anna:a"b',
  "anna:a'b",
  'anna:a\nb',
  'anna:..',
  'anna:.a',
  'anna:a/b',
  'anna:a:b',
  'anna:ü',
  `anna:${'x'.repeat(129)}`,
  'anna:',
  'anna/x:a',
  'Anna:a',
  'otto:a',
  ' anna:a',
  'anna:sluice-python-0123456789abcdef0123',
  'anna:in-use-0123456789abcdef0123',
])('the target %j is refused', (target) => {
  expect(refusal({ target })).toEqual(['invalid_input', 'target']);
});

test.each([
  'busybox\nRUN id',
  'busybox RUN',
  'busybox;id',
  '$(id)',
  'busybox,x=y',
  'Busybox',
  '../x',
  'a"b',
  '',
  'x'.repeat(300),
  'bücher',
  `sha256:${'a'.repeat(64)}`,
])('the source %j is refused', (source) => {
  expect(refusal({ source })).toEqual(['invalid_input', 'source']);
});

test('base images of other users in the same registry, by either of its names', () => {
  expect(refusal({ source: 'registry.test:5000/otto:secret' })).toEqual(['forbidden', 'source']);
  expect(refusal({ source: 'pull.test:32000/otto:secret' })).toEqual(['forbidden', 'source']);
  expect(refusal({ source: 'registry.test:5000/anna/cache:python' })).toEqual(['forbidden', 'source']);
  expect(refusal({ source: 'registry.test:5000/anna:mine' })).toBeUndefined();
  expect(refusal({ source: 'registry.test:5000/library/python:3' })).toBeUndefined();
  const team = { registry: 'registry.test:5000', repository: ['team'] };
  expect(refusal({ source: 'registry.test:5000/team/base:1' }, { bases: [team] })).toBeUndefined();
  // A registry that is allowed as a whole does not open what belongs to users in it.
  const whole = { registry: 'registry.test:5000', repository: [] };
  expect(refusal({ source: 'registry.test:5000/otto:secret' }, { bases: [whole] })).toEqual([
    'forbidden',
    'source',
  ]);
});

test('a list of allowed bases goes by registry and whole segments', () => {
  const bases = [{ registry: 'docker.io', repository: ['library'] }];
  expect(refusal({}, { bases })).toBeUndefined();
  expect(refusal({ source: 'evil.example/docker.io/library/python' }, { bases })).toEqual([
    'forbidden',
    'source',
  ]);
  expect(refusal({ source: 'libraryx/python' }, { bases })).toEqual(['forbidden', 'source']);
});

test('kinds, platforms and the size of the file', () => {
  expect(refusal({ kind: 'cobol' })).toEqual(['invalid_input', 'kind']);
  expect(refusal({ kind: 'constructor' })).toEqual(['invalid_input', 'kind']);
  expect(refusal({ platforms: ['linux/amd64,x=y'] })).toEqual(['invalid_input', 'platforms']);
  expect(refusal({ platforms: Array.from({ length: 9 }, () => 'linux/amd64') })).toEqual([
    'invalid_input',
    'platforms',
  ]);
  expect(refusal({ file: 'x'.repeat(1001) })).toEqual(['too_large', 'file']);
  expect(
    checkRequest(anna, { ...good, platforms: ['linux/arm64/v8', 'linux/amd64', 'linux/amd64'] }, rules)
      .platforms,
  ).toEqual(['linux/amd64', 'linux/arm64/v8']);
});

test('a registry of an inner network has to be named by the administrator', () => {
  const source = '10.0.0.7:6379/x';
  expect(refusal({ source })).toEqual(['forbidden', 'source']);
  expect(refusal({ source }, { bases: [{ registry: '10.0.0.7:6379', repository: [] }] })).toBeUndefined();
  expect(checkRequest({ ...anna, admin: true }, { ...good, source }, rules).source.registry).toBe(
    '10.0.0.7:6379',
  );
});
