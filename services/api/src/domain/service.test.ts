import { expect, describe, test } from 'vitest';
import { AppError } from '@sluice/shared/errors';
import { deploymentOf } from './deployment.ts';
import { normaliseService } from './service-normalise.ts';
import { separateSecrets } from './service-secrets.ts';
import { validateService } from './service-validate.ts';
import { ownWarnings } from './service-warnings.ts';
import { decodeService, encodeService, serviceOutput } from './service-wire.ts';

const minio = { endpoint: 'https://minio-service.minio:9000', verify: true, region: 'us-east-1' };
const stamp = { owner: 'cluster_admin', ownerName: 'oscar', namespace: 'oscar-svc', minio };
const least = { name: 'demo', image: 'ghcr.io/example/demo', script: 'true\n' };

const decode = (body: object) => decodeService(Buffer.from(JSON.stringify(body)));
const normalise = (body: object) => normaliseService(decode({ ...least, ...body }), stamp);
const faults = (body: object) => {
  const input = decode({ ...least, ...body });
  return validateService(normaliseService(input, stamp), input).map(
    ({ field, message }) => `${field}: ${message}`,
  );
};

describe('wire', () => {
  test('a service reads as OSCAR §12.1 has it', () => {
    const body = {
      ...least,
      log_level: 'critical',
      input: [{ storage_provider: 'minio.default', path: '/in/' }],
      output: [{ storage_provider: 'minio', path: 'demo/out', suffix: ['.png'], prefix: [] }],
      script: '#!/bin/sh\r\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\r\n',
      environment: { Variables: { A: '1' }, secrets: { KEY: 'geheim' } },
    };
    const { definition, secrets } = separateSecrets(normalise(body), 'a'.repeat(64), undefined);
    expect(secrets).toEqual({ token: 'a'.repeat(64), environment: { KEY: 'geheim' } });
    expect(JSON.stringify(definition)).not.toContain('geheim');
    const expected = [
      '{"name":"demo","cluster_id":"","memory":"256Mi","cpu":"0.2","total_memory":"","total_cpu":"","ephemeral_storage_request":"",',
      '"enable_gpu":false,"enable_sgx":false,"image_prefetch":false,"synchronous":{"min_scale":0,"max_scale":0},"log_level":"CRITICAL",',
      `"image":"ghcr.io/example/demo","alpine":false,"token":"${'a'.repeat(64)}","file_stage_in":false,`,
      '"input":[{"storage_provider":"minio.default","path":"demo/in"}],',
      '"output":[{"storage_provider":"minio.default","path":"demo/out","suffix":[".png"]}],',
      String.raw`"script":"#!/bin/sh\ncp \"$INPUT_FILE_PATH\" \"$TMP_OUTPUT_DIR\"\n",`,
      '"expose":{"min_scale":0,"max_scale":0,"cpu_threshold":0,"rewrite_target":false,"default_command":false,"set_auth":false,"health_path":""},',
      '"environment":{"variables":{"A":"1"},"secrets":{"KEY":""}},"annotations":{},"vo":"",',
      '"labels":{"applicationId":"demo","oscar.grycap/user-service":"true","oscar_service":"demo","owner_name":"oscar","queue":"root.oscar-queue.demo"},',
      '"storage_providers":{"minio":{"default":{"endpoint":"https://minio-service.minio:9000","verify":true,"access_key":"hidden","secret_key":"hidden","region":"us-east-1"}}},',
      '"owner":"cluster_admin","namespace":"oscar-svc","interlink_node_name":"","visibility":"private","allowed_users":[],"isolation_level":"","bucket_list":[],',
      '"mount":{"storage_provider":"","path":""},"volume_status":{"enabled":false}}',
    ].join('');
    expect(encodeService(serviceOutput(definition, secrets, minio, undefined))).toBe(expected);
  });

  test('what is read can be sent back and changes nothing', () => {
    const first = normalise({
      input: [{ storage_provider: 'minio', path: 'in' }],
      sluice: { timeout: 5 },
      expose: { api_port: 80, nodePort: 0 },
    });
    const shown = encodeService(
      serviceOutput(
        first,
        { token: 't' },
        minio,
        deploymentOf({ definition: first, updated_at: 0 }, undefined),
      ),
    );
    expect(shown).toContain('"deployment":{"state":"unavailable"');
    expect(shown.endsWith(',"sluice":{"timeout":5}}')).toBe(true);
    expect(normaliseService(decodeService(Buffer.from(shown)), stamp)).toEqual(first);
  });

  test('what OSCAR requires is named in its words', () => {
    expect(() => decode({})).toThrow(
      new AppError(
        'invalid_input',
        [
          "The service specification is not valid: Key: 'Service.Name' Error:Field validation for 'Name' failed on the 'required' tag",
          "Key: 'Service.Image' Error:Field validation for 'Image' failed on the 'required' tag",
          "Key: 'Service.Script' Error:Field validation for 'Script' failed on the 'required' tag",
        ].join('\n'),
      ),
    );
    expect(() => decode({ ...least, name: 'x'.repeat(40) })).toThrow("failed on the 'max' tag");
    expect(() => decode({ ...least, cpu: 1 })).toThrow(
      'The service specification is not valid: json: cannot unmarshal number into Go struct field Service.cpu of type string',
    );
    expect(() => decodeService(Buffer.from(''))).toThrow('The service specification is not valid: EOF');
  });
});

describe('normalise', () => {
  test('paths lie in the service’s own bucket where they name none', () => {
    const io = (path: string) => [{ storage_provider: 'minio.default', path }];
    expect(normalise({ input: io('in') }).input[0]?.path).toBe('demo/in');
    expect(normalise({ input: io(' /other/a/b/ ') }).input[0]?.path).toBe('other/a/b');
    expect(() => normalise({ input: io(' / ') })).toThrow('input path cannot be empty');
    expect(() => normalise({ output: io('') })).toThrow('output path cannot be empty');
  });

  test('ports may be one number; 0 is none', () => {
    expect(normalise({ expose: { api_port: 5000 } }).expose.api_port).toEqual([5000]);
    expect(normalise({ expose: { api_port: [1, 2], nodePort: [0, 0] } }).expose).toMatchObject({
      api_port: [1, 2],
      nodePort: [0, 0],
    });
    expect(normalise({ expose: { nodePort: 0 } }).expose).not.toHaveProperty('nodePort');
    expect(normalise({ expose: { nodePort: [0] } }).expose).not.toHaveProperty('nodePort');
  });

  test('defaults, levels, users, forced labels', () => {
    const definition = normalise({
      log_level: 'loud',
      allowed_users: [' a ', '', ' '],
      labels: { queue: 'mine', own: 'x' },
      owner: 'me',
      token: 'mine',
      federation: {},
    });
    expect(definition).toMatchObject({
      log_level: 'INFO',
      allowed_users: ['a'],
      owner: 'cluster_admin',
      token: '',
      federation: { topology: 'none' },
    });
    expect(definition.labels).toEqual({
      own: 'x',
      applicationId: 'demo',
      'oscar.grycap/user-service': 'true',
      oscar_service: 'demo',
      owner_name: 'oscar',
      queue: 'root.oscar-queue.demo',
    });
    expect(normalise({ log_level: 'debug' }).log_level).toBe('DEBUG');
  });
});

describe('validate', () => {
  test('a plain service has no fault', () => {
    expect(
      faults({
        input: [{ storage_provider: 'minio.default', path: 'in' }],
        output: [{ storage_provider: 'minio', path: 'demo/out' }],
        cpu: '500m',
        memory: '1Gi',
      }),
    ).toEqual([]);
  });

  test.each<[object, string]>([
    [{ script: 'x'.repeat(2_100_000) }, 'the definition, its script included, is larger than 2097152 bytes'],
    [{ name: 'Demo' }, 'name: must be made of'],
    [{ name: '-demo' }, 'name: must be made of'],
    [{ name: '../etc' }, 'name: must be made of'],
    [{ cpu: 'much' }, 'cpu: "much" is not a quantity'],
    [{ cpu: '0' }, 'cpu: "0" is not a quantity'],
    [{ memory: '-1' }, 'memory: "-1" is not a quantity'],
    [{ total_cpu: 'x' }, 'total_cpu: "x" is not a quantity'],
    [{ visibility: 'PRIVATE' }, 'visibility: must be'],
    [{ image: 'a b' }, 'image: must be'],
    [{ namespace: 'a/b' }, 'namespace: must be'],
    [{ environment: { variables: { 'A=B': 'x' } } }, 'environment.variables.A=B: the name'],
    [{ environment: { variables: { A: 'x\0y' } } }, 'environment.variables.A: has a NUL'],
    [{ environment: { secrets: { A: 'x'.repeat(140_000) } } }, 'environment.secrets.A: is longer'],
    [{ labels: { 'bad label': 'x' } }, 'labels.bad label: is not a valid'],
    [{ labels: { good: 'bad value' } }, 'labels.good: a label value'],
    [
      { expose: { api_port: [1], nodePort: [1, 2] } },
      'expose.nodePort: The length of nodePort (2) must be equal to that of api_port (1)',
    ],
    [{ expose: { api_port: 70_000 } }, 'expose.api_port[0]: must be 0 to 65535'],
    [{ expose: { auth_type: 'x' } }, 'expose.auth_type: unsupported'],
    [{ sluice: { timeout: 0 } }, 'sluice.timeout: must be 1 to 2592000'],
    [{ sluice: { image_pull_policy: 'Never' } }, 'sluice.image_pull_policy: must be "Always"'],
    [{ sluice: { script_retries: 11 } }, 'sluice.script_retries: must be 0 to 10'],
    [{ mount: { storage_provider: 'minio', path: 'x' } }, 'mount: is not supported'],
    [{ volume: { name: 'a', size: '1Gi', mount_path: '/data' } }, 'volume.size: is not supported'],
    [{ volume: { mount_path: '/data' } }, 'volume.name: must be the name of a volume claim'],
    [{ volume: { name: 'a', mount_path: '/oscar/config' } }, 'volume.mount_path: must not be /oscar'],
    [
      { volume: { name: 'a', mount_path: '/a', lifecycle_policy: 'retain' } },
      'volume.lifecycle_policy: is for volumes with a size',
    ],
    [{ sluice: { volumes: [{ claim: 'a', mount_path: '/etc' }] } }, 'must not hide a folder'],
    [{ sluice: { run_as: 'node' } }, 'sluice.run_as: must be a number'],
    [{ sluice: { run_as: '1:4294967295' } }, 'sluice.run_as: must be a number'],
    [{ sluice: { priority_class: 'High' } }, 'sluice.priority_class: must be the name'],
    [{ sluice: { priority_class: 'system-node-critical' } }, 'sluice.priority_class: is kept'],
    [{ sluice: { queue: 'a b' } }, 'sluice.queue: must be the name of a Kueue'],
    [{ sluice: { node_selector: { 'a b': 'c' } } }, 'sluice.node_selector.a b: must be the label'],
    [{ sluice: { tolerations: [{}] } }, 'sluice.tolerations[0].key: must be the key of a taint'],
    [{ sluice: { tolerations: [{ key: 'a', operator: 'Is' }] } }, 'sluice.tolerations[0].operator: must be'],
    [
      { sluice: { tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] } },
      'sluice.tolerations[0].value: must be left out',
    ],
    [{ sluice: { tolerations: [{ key: 'a', effect: 'Never' }] } }, 'sluice.tolerations[0].effect: must be'],
    [
      { sluice: { tolerations: [{ key: 'a', toleration_seconds: 3 }] } },
      'sluice.tolerations[0].toleration_seconds: is for effect',
    ],
    [{ sluice: { volumes: [{ mount_path: '/a' }] } }, 'sluice.volumes[0].claim: must be the name'],
    [
      { sluice: { volumes: [{ claim: 'a', mount_path: 'a' }] } },
      'sluice.volumes[0].mount_path: must be an absolute path',
    ],
    [
      { sluice: { volumes: [{ claim: 'a', mount_path: '/a/../b' }] } },
      'sluice.volumes[0].mount_path: must not',
    ],
    [
      {
        volume: { name: 'a', mount_path: '/a' },
        sluice: { volumes: [{ claim: 'b', mount_path: '/a' }] },
      },
      'sluice.volumes[0].mount_path: is used by another volume',
    ],
    [
      { sluice: { volumes: Array.from({ length: 21 }, (_, i) => ({ claim: 'a', mount_path: `/a${i}` })) } },
      'sluice.volumes: has more than 20',
    ],
    [{ kserve: { type: 'inference' } }, 'kserve: is not supported'],
    [{ federation: { members: [{}] } }, 'federation.members: is not supported'],
    [{ input: [{ path: 'a' }] }, 'input[0].storage_provider: is missing'],
    [
      { input: [{ storage_provider: 's3.eu', path: 'a/b' }] },
      'input[0].storage_provider: the StorageProvider "s3.eu" is not defined',
    ],
    [
      { input: [{ storage_provider: 's3.eu', path: 'a/b' }], storage_providers: { s3: { eu: {} } } },
      'input[0].storage_provider: "s3.eu" is not supported by this installation yet',
    ],
    [
      { output: [{ storage_provider: 'ftp', path: 'a/b' }] },
      'output[0].storage_provider: "ftp.default" is not supported',
    ],
    [
      { input: [{ storage_provider: 'minio.default', path: 'sluice-system/x' }] },
      'input[0].path: The bucket name is not valid: "sluice-system" is kept',
    ],
    [
      { input: [{ storage_provider: 'minio.default', path: 'Bad_Bucket/x' }] },
      'input[0].path: The bucket name is not valid',
    ],
    [
      { input: [{ storage_provider: 'minio.default', path: 'good/../x' }] },
      'input[0].path: The object key is not valid',
    ],
    [{ name: 'ab', input: [{ storage_provider: 'minio', path: 'in' }] }, "the bucket is the service's name"],
    [
      { input: [{ storage_provider: 'minio', path: 'in', options: '$(id)' }] },
      'input[0].options: mount options contain',
    ],
    [{ annotations: { ['__proto__x']: 'fine', '': 'x' } }, 'annotations: "" is not usable'],
    [
      { input: Array.from({ length: 101 }, () => ({ storage_provider: 'minio', path: 'in' })) },
      'input: has more than 100',
    ],
  ])('%#: %s is refused', (body, message) => {
    expect(faults(body).join('\n')).toContain(message);
  });

  test('every fault is named at once', () => {
    expect(faults({ name: 'X', cpu: 'y', visibility: 'z' })).toHaveLength(3);
  });

  test('empty parts of what is not supported are fine', () => {
    expect(
      faults({
        mount: { storage_provider: '', path: ' ' },
        volume: { size: '', mount_path: '' },
        kserve: null,
        federation: { members: [] },
      }),
    ).toEqual([]);
  });

  test('what is for a cluster is taken', () => {
    expect(
      faults({
        volume: { name: 'models', mount_path: '/models' },
        sluice: {
          run_as: '1000:1000',
          node_selector: { 'node.example/disk': 'ssd' },
          tolerations: [
            { operator: 'Exists' },
            { key: 'gpu', value: 'a', effect: 'NoExecute', toleration_seconds: 1 },
          ],
          priority_class: 'batch.low',
          queue: 'team-a',
          volumes: [{ claim: 'data', mount_path: '/mnt/data', read_only: true }],
        },
      }),
    ).toEqual([]);
  });

  test('what is stored and not done is said', () => {
    const warnings = ownWarnings(
      normalise({
        expose: { api_port: 80 },
        synchronous: { max_scale: 2 },
        image_prefetch: true,
        interlink_node_name: 'node',
        total_cpu: '2',
        input: [{ storage_provider: 'minio', path: 'in', suffix: ['.x'] }],
      }),
    );
    expect(warnings.map((warning) => warning.split(' ')[0])).toEqual([
      'expose',
      'image_prefetch',
      'interlink_node_name',
      'total_cpu',
      'input[0].prefix',
    ]);
    expect(ownWarnings(normalise({}))).toEqual([]);
  });
});

describe('secrets', () => {
  const providers = {
    s3: { eu: { access_key: 'AK', secret_key: 'SK', region: 'eu' } },
    webdav: { d: { hostname: 'h', login: 'l', password: 'PW' } },
  };
  const body = {
    environment: { secrets: { KEY: 'v', EMPTY: '' } },
    storage_providers: providers,
    clusters: { c: { endpoint: 'e', auth_user: 'u', auth_password: 'CP' } },
  };

  test('leave the definition, and stay with it when it is sent back as read', () => {
    const first = separateSecrets(normalise(body), 't', undefined);
    expect(JSON.stringify(first.definition)).not.toMatch(/AK|SK|PW|CP/);
    expect(first.secrets.third_party).toEqual({
      'storage_providers.s3.eu.access_key': 'AK',
      'storage_providers.s3.eu.secret_key': 'SK',
      'storage_providers.webdav.d.password': 'PW',
      'clusters.c.auth_password': 'CP',
    });
    const shown = JSON.parse(
      encodeService(serviceOutput(first.definition, first.secrets, minio, undefined)),
    ) as object;
    expect(JSON.stringify(shown)).not.toMatch(/AK|SK|PW|CP/);
    const second = separateSecrets(normalise(shown), 't', first.secrets);
    expect(second.secrets).toEqual(first.secrets);
    expect(second.definition).toEqual(first.definition);
  });

  test('new values replace, keys that are not sent go', () => {
    const first = separateSecrets(normalise(body), 't', undefined);
    const next = separateSecrets(
      normalise({ environment: { secrets: { KEY: 'w', NEW: 'n' } } }),
      't',
      first.secrets,
    );
    expect(next.secrets).toEqual({ token: 't', environment: { KEY: 'w', NEW: 'n' } });
  });
});
