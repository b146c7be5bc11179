import { expect, test } from 'vitest';
import type { BuildPlan } from '../ports.ts';
import { buildArguments, daemonArguments } from './build-arguments.ts';

const plan: BuildPlan = {
  id: 'b1',
  user: 'anna',
  kind: 'python',
  dockerfile: 'FROM busybox\n',
  files: [],
  push: 'registry:5000/anna:python-0123',
  labels: { 'org.example.title': 'a, b="c"' },
  platforms: [],
  sbom: false,
  provenance: false,
  cache: undefined,
  sharedCaches: [],
  force: false,
  logins: {},
  timeoutMs: 1000,
};
const places = { context: '/t/context', dockerfile: '/t/dockerfile', metadata: '/t/metadata.json' };
const make = (more: Partial<BuildPlan> = {}, insecure: readonly string[] = []): readonly string[] =>
  buildArguments({ ...plan, ...more }, places, insecure);

test('the least that a build needs', () => {
  expect(make()).toEqual([
    'build',
    '--progress=rawjson',
    '--frontend=dockerfile.v0',
    '--local=context=/t/context',
    '--local=dockerfile=/t/dockerfile',
    '--opt=build-arg:SOURCE_DATE_EPOCH=1577836800',
    '--opt=build-arg:BUILDKIT_CACHE_MOUNT_NS=anna',
    '--opt=label:org.example.title=a, b="c"',
    '--output=type=image,name=registry:5000/anna:python-0123,push=true,rewrite-timestamp=true,oci-mediatypes=true',
    '--metadata-file=/t/metadata.json',
  ]);
});

test('all that it may need', () => {
  const made = make(
    {
      platforms: ['linux/amd64', 'linux/arm64/v8'],
      sbom: true,
      provenance: true,
      cache: 'registry:5000/anna/cache:python',
      sharedCaches: ['registry:5000/library/cache:python', 'other.example/cache:python'],
    },
    ['registry:5000'],
  );
  const after = (flag: string): string[] =>
    made.flatMap((one) => (one.startsWith(`${flag}=`) ? [one.slice(flag.length + 1)] : []));
  expect(after('--opt')).toEqual(
    expect.arrayContaining([
      'platform=linux/amd64,linux/arm64/v8',
      'attest:sbom=',
      'attest:provenance=mode=max',
    ]),
  );
  expect(after('--output')).toEqual([expect.stringMatching(/,registry\.insecure=true$/)]);
  expect(after('--import-cache')).toEqual([
    'type=registry,ref=registry:5000/anna/cache:python,registry.insecure=true',
    'type=registry,ref=registry:5000/library/cache:python,registry.insecure=true',
    'type=registry,ref=other.example/cache:python',
  ]);
  expect(after('--export-cache')).toEqual([
    'type=registry,ref=registry:5000/anna/cache:python,registry.insecure=true,mode=max,ignore-error=true',
  ]);
  expect(made).not.toContain('--no-cache');
});

test('a forced build reads no cache and writes it anew', () => {
  const made = make({ force: true, cache: 'r.example/anna/cache:go', sharedCaches: ['r.example/x:go'] });
  expect(made).toContain('--no-cache');
  expect(made.join(' ')).not.toContain('--import-cache');
  expect(made.join(' ')).toContain('--export-cache=type=registry,ref=r.example/anna/cache:go,');
});

test('a host is insecure with all its ports where none is named', () => {
  const [, insecure] = [make(), make({}, ['registry'])];
  expect(insecure.join(' ')).toContain('registry.insecure=true');
  expect(make({}, ['registry:5001', 'other']).join(' ')).not.toContain('insecure');
});

test.each([
  'registry:5000/anna:x,push=true,name=registry:5000/bob:x',
  'registry:5000/anna:x,name=registry:5000/bob:x',
  '"registry:5000/anna:x,registry:5000/bob:x"',
  'registry:5000/anna:x y',
  'registry:5000/anna:x\n',
  'registry:5000/anna:x;id',
  'registry:5000/anna:$(id)',
  'registry:5000/anna',
  `registry:5000/anna:x@sha256:${'0'.repeat(64)}`,
  '',
])('nothing is pushed to %j', (push) => {
  expect(() => make({ push })).toThrow(expect.objectContaining({ code: 'invalid_input', field: 'push' }));
});

test.each([
  [{ cache: 'r.example/c:x,mode=min' }, 'cache'],
  [{ sharedCaches: ['r.example/c:x"'] }, 'cache'],
  [{ platforms: ['linux/amd64,windows/amd64'] }, 'platforms'],
  [{ platforms: ['linux'] }, 'platforms'],
  [{ labels: { 'a=b': 'c' } }, 'labels'],
  [{ labels: { a: 'b\nc' } }, 'labels'],
  [{ user: 'anna,bob' }, 'user'],
])('%j is refused', (more, field) => {
  expect(() => make(more)).toThrow(expect.objectContaining({ code: 'invalid_input', field }));
});

test('the way to the daemon', () => {
  expect(daemonArguments({ host: 'tcp://b:1234' })).toEqual(['--addr', 'tcp://b:1234']);
  expect(
    daemonArguments({ host: 'tcp://b:1', ca: '/ca', cert: '/cert', key: '/key', serverName: 'name' }),
  ).toEqual([
    '--addr',
    'tcp://b:1',
    '--tlsservername',
    'name',
    '--tlscacert',
    '/ca',
    '--tlscert',
    '/cert',
    '--tlskey',
    '/key',
  ]);
});
