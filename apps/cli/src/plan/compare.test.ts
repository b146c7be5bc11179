import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../fdl/decode.ts';
import { compareService, type Change } from './compare.ts';

/** As OSCAR §12.1 gives it back. */
const actual: JsonObject = {
  name: 'demo',
  cluster_id: 'local',
  memory: '256Mi',
  cpu: '0.2',
  total_memory: '',
  enable_gpu: false,
  synchronous: { min_scale: 0, max_scale: 0 },
  log_level: 'CRITICAL',
  image: 'ghcr.io/example/demo',
  token: 'ab'.repeat(32),
  input: [{ storage_provider: 'minio.default', path: 'demo/in' }],
  output: [{ storage_provider: 'minio.default', path: 'demo/out', suffix: ['.png'] }],
  script: '#!/bin/sh\necho\n',
  expose: { min_scale: 0, max_scale: 0, cpu_threshold: 0, rewrite_target: false, health_path: '' },
  environment: { variables: { A: '1' }, secrets: { KEY: '' } },
  annotations: {},
  vo: '',
  labels: {
    applicationId: 'demo',
    'oscar.grycap/user-service': 'true',
    oscar_service: 'demo',
    owner_name: 'oscar',
  },
  storage_providers: { minio: { default: { endpoint: 'https://x', verify: true, access_key: 'hidden' } } },
  owner: 'cluster_admin',
  namespace: 'oscar-svc',
  visibility: 'private',
  allowed_users: [],
  isolation_level: '',
  bucket_list: [],
  mount: { storage_provider: '', path: '' },
  volume_status: { enabled: false },
};

/** The file that gave `actual`, as a person writes it. */
const wanted: JsonObject = {
  name: 'demo',
  cluster_id: 'local',
  log_level: 'critical',
  image: 'ghcr.io/example/demo',
  input: [{ storage_provider: 'MINIO', path: ' /in/' }],
  output: [{ storage_provider: 'minio', path: 'demo/out', suffix: ['.png'] }],
  script: '#!/bin/sh\r\necho\r\n',
  environment: { variables: { A: '1' }, secrets: { KEY: 's3cret' } },
};

const changes = (over: JsonObject, server: JsonObject = actual): readonly Change[] =>
  compareService({ ...wanted, ...over }, server).changes;
const change = (path: string, from?: string, to?: string): Change => ({
  path,
  hidden: false,
  ...(from === undefined ? {} : { from }),
  ...(to === undefined ? {} : { to }),
});

describe('no difference', () => {
  it('is what the server sets, completes or normalises', () => {
    expect(compareService(wanted, actual)).toEqual({
      service: 'demo',
      action: 'unchanged',
      changes: [],
      sendsSecrets: true,
    });
  });

  it.each<[string, JsonObject]>([
    [
      'a stated default',
      { memory: '256Mi', cpu: '0.2', visibility: 'private', enable_gpu: false, allowed_users: [] },
    ],
    [
      'what the server keeps',
      { token: 'mine', owner: 'me', namespace: 'x', labels: { oscar_service: 'other' } },
    ],
    ['the default provider', { storage_providers: { minio: { default: { endpoint: 'https://other' } } } }],
    ['no port', { expose: { api_port: [0], rewrite_target: false } }],
    ['blank users', { allowed_users: [' '] }],
    ['an isolation level that is the default', { isolation_level: 'SERVICE' }],
  ])('is %s', (_, over) => {
    expect(changes(over)).toEqual([]);
  });

  it('is what a stop and a restart left on the server', () => {
    const annotations = {
      'oscar.grycap.io/stopped': 'true',
      'oscar.grycap.io/restarted-at': '2026-01-02T03:04:05Z',
    };
    expect(changes({}, { ...actual, annotations })).toEqual([]);
  });

  it('is a password that the server does not give back', () => {
    const clusters = { other: { endpoint: 'https://o', auth_user: 'u', auth_password: 'p' } };
    const server = {
      ...actual,
      clusters: { other: { endpoint: 'https://o', auth_user: 'u', auth_password: '' } },
    };
    expect(changes({ clusters }, server)).toEqual([]);
  });
});

describe('a difference', () => {
  it('is a new service', () => {
    expect(compareService(wanted, undefined)).toEqual({
      service: 'demo',
      action: 'create',
      changes: [],
      sendsSecrets: true,
    });
  });

  it.each<[string, JsonObject, Change]>([
    ['a value', { memory: '512Mi' }, change('memory', '256Mi', '512Mi')],
    ['a flag', { enable_gpu: true }, change('enable_gpu', 'false', 'true')],
    ['a port', { expose: { api_port: [80, 81] } }, change('expose.api_port', undefined, '80, 81')],
    ['a removed value', { log_level: null }, change('log_level', 'CRITICAL', 'INFO')],
    ['a default in place of a value', { log_level: 'INFO' }, change('log_level', 'CRITICAL', 'INFO')],
    [
      'a path',
      { input: [{ storage_provider: 'minio', path: 'b/in' }] },
      change('input[0]', 'minio.default:demo/in', 'minio.default:b/in'),
    ],
    [
      'a filter',
      { output: [{ storage_provider: 'minio', path: 'out', prefix: ['a'] }] },
      change('output[0]', 'minio.default:demo/out suffix .png', 'minio.default:demo/out prefix a'),
    ],
    ['a removed output', { output: [] }, change('output[0]', 'minio.default:demo/out suffix .png')],
    [
      'a variable',
      { environment: { variables: { A: '1', B: '' }, secrets: { KEY: 'x' } } },
      change('environment.variables.B', undefined, ''),
    ],
    [
      'a removed variable',
      { environment: { secrets: { KEY: 'x' } } },
      change('environment.variables.A', '1'),
    ],
    [
      'a service that was stopped, if the file says so',
      { annotations: { 'oscar.grycap.io/stopped': 'false' } },
      change('annotations["oscar.grycap.io/stopped"]', undefined, 'false'),
    ],
    ['a label', { labels: { 'a.b/c': 'd' } }, change('labels["a.b/c"]', undefined, 'd')],
    ['an option of Sluice', { sluice: { infra_retries: 0 } }, change('sluice.infra_retries', undefined, '0')],
    [
      'a mount',
      { mount: { storage_provider: 'minio', path: 'a/b' } },
      change('mount', '', 'minio.default:a/b'),
    ],
    ['the script', { script: '#!/bin/sh\necho\nls' }, change('script', '2 lines', '3 lines')],
    ['the cluster', { cluster_id: 'other' }, change('cluster_id', 'local', 'other')],
  ])('is %s', (_, over, expected) => {
    expect(changes(over)).toEqual([expected]);
  });

  it('is a flag that is switched off where the server has it on', () => {
    const server = { ...actual, expose: { rewrite_target: true, min_scale: 2 } };
    expect(changes({ expose: { rewrite_target: false } }, server)).toEqual([
      change('expose.rewrite_target', 'true', 'false'),
    ]);
  });

  it('names secrets without their values', () => {
    const environment = { variables: { A: '1' }, secrets: { OTHER: 's3cret' } };
    expect(changes({ environment })).toEqual([
      { path: 'environment.secrets.OTHER', hidden: true },
      { path: 'environment.secrets.KEY', hidden: true },
    ]);
    const s3 = { s3: { x: { region: 'eu', secret_key: 'abc' } } };
    const server = { ...actual, storage_providers: { s3: { x: { region: 'eu', secret_key: 'def' } } } };
    expect(changes({ storage_providers: s3 }, server)).toEqual([
      { path: 'storage_providers.s3.x.secret_key', hidden: true },
    ]);
    expect(JSON.stringify(changes({ environment, storage_providers: s3 }, server))).not.toMatch(
      /s3cret|abc|def/,
    );
  });
});
