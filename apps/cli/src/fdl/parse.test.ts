import { stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import { maxFdlBytes, maxScriptBytes, parseFdl, type Fdl, type ReadScript } from './parse.ts';
import { FdlError, problemText } from './problem.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const scripts: ReadScript = () => ({ bytes: bytes('#!/bin/sh\necho hi\n') });

function parse(text: string, readScript: ReadScript = scripts): Fdl {
  return parseFdl('fdl.yaml', bytes(text), readScript);
}

function problemsOf(text: string, readScript: ReadScript = scripts): string[] {
  try {
    parse(text, readScript);
  } catch (error) {
    if (error instanceof FdlError) return error.problems.map(problemText);
    throw error;
  }
  return [];
}

function warningsOf(text: string): string[] {
  return parse(text).warnings.map(problemText);
}

/** A file with one service; `lines` are indented below its name, image and script (line 7 is the first). */
function withService(...lines: string[]): string {
  const head = [
    'functions:',
    '  oscar:',
    '  - local:',
    '      name: demo',
    '      image: alpine',
    '      script: a.sh',
  ];
  return [...head, ...lines.map((line) => `      ${line}`), ''].join('\n');
}

const serviceOf = (text: string) => parse(text).services[0]?.document;

describe("OSCAR's files", () => {
  it('reads an example as oscar-cli does', () => {
    const fdl = parse(
      [
        'functions:',
        '  oscar:',
        '  - oscar-cluster:',
        '      name: fire-detection',
        '      cpu: 1.0',
        '      memory: 1Gi',
        '      image: ghcr.io/example/fire:latest ',
        '      script: script.sh',
        '      input:',
        '      - storage_provider: minio.default',
        '        path: fire-detect/input',
        '      output:',
        '      - storage_provider: minio',
        '        path: fire-detect/output',
        "        suffix: ['.png']",
        '      environment:',
        '        Variables:',
        '          SEND_SNS: false',
        '          COUNT: 007',
        '          EMPTY:',
        '        secrets:',
        '          KEY: s3cret',
        'storage_providers:',
        '  minio:',
        '    other: {endpoint: "https://x", region: , access_key: a, secret_key: b, verify: True}',
        'clusters:',
        '  oscar-us:',
        '    endpoint:',
        '    ssl_verify: true',
      ].join('\r\n'),
    );
    expect(fdl.warnings).toEqual([]);
    expect(fdl.services).toEqual([
      {
        file: 'fdl.yaml',
        line: 4,
        column: 7,
        path: 'functions.oscar[0].oscar-cluster',
        document: {
          name: 'fire-detection',
          cluster_id: 'oscar-cluster',
          cpu: '1.0',
          memory: '1Gi',
          image: 'ghcr.io/example/fire:latest',
          script: '#!/bin/sh\necho hi\n',
          input: [{ storage_provider: 'minio.default', path: 'fire-detect/input' }],
          output: [{ storage_provider: 'minio', path: 'fire-detect/output', suffix: ['.png'] }],
          environment: {
            variables: { SEND_SNS: 'false', COUNT: '007', EMPTY: '' },
            secrets: { KEY: 's3cret' },
          },
          storage_providers: {
            minio: { other: { endpoint: 'https://x', access_key: 'a', secret_key: 'b', verify: true } },
          },
          clusters: { 'oscar-us': { ssl_verify: true } },
        },
      },
    ]);
  });

  it('reads several services, each with its script, relative to the file', () => {
    const asked: string[] = [];
    const read: ReadScript = (file) => {
      asked.push(file);
      return { bytes: bytes(`# ${file}\r\nx\ry`) };
    };
    const text = stringify({
      functions: {
        oscar: [
          { a: { name: 'one', image: 'i', script: 'one.sh' } },
          { a: { name: 'two', image: 'i', script: '../two.sh' } },
          { b: { name: 'three', image: 'i', script: '/opt/three.sh' } },
        ],
      },
    });
    const { services } = parseFdl('/work/fdl/demo.yaml', bytes(text), read);
    expect(asked).toEqual(['/work/fdl/one.sh', '/work/two.sh', '/opt/three.sh']);
    expect(services.map(({ document }) => [document.cluster_id, document.name, document.script])).toEqual([
      ['a', 'one', '# /work/fdl/one.sh\nx\ny'],
      ['a', 'two', '# /work/two.sh\nx\ny'],
      ['b', 'three', '# /opt/three.sh\nx\ny'],
    ]);
  });

  it('takes keys in any case, one port as a list, words and numbers for flags and numbers', () => {
    const text = withService(
      'Memory: 512Mi',
      'ENABLE_GPU: yes',
      'alpine: "off"',
      'expose: {api_port: 5000, nodeport: [0, 30001], min_scale: "1"}',
      'total_cpu: 1e3',
      'kserve: {type: inference, min_scale: 1, list: [1, {a: null}]}',
    );
    expect(parse(text).warnings).toEqual([]);
    expect(serviceOf(text)).toMatchObject({
      memory: '512Mi',
      enable_gpu: true,
      alpine: false,
      expose: { api_port: [5000], nodePort: [0, 30001], min_scale: 1 },
      total_cpu: '1e3',
      kserve: { type: 'inference', min_scale: 1, list: [1, { a: null }] },
    });
  });

  it('follows anchors, aliases and merge keys', () => {
    const text = [
      'functions:',
      '  oscar:',
      '  - a: &base',
      '      name: one',
      '      image: &image alpine',
      '      script: a.sh',
      '      environment: &env {variables: {A: "1"}}',
      '  - a:',
      '      <<: *base',
      '      name: two',
      '  - a: {name: three, image: *image, script: a.sh, environment: {<<: [*env, {secrets: {K: v}}]}}',
    ].join('\n');
    const { services, warnings } = parse(text);
    expect(warnings).toEqual([]);
    const common = { cluster_id: 'a', image: 'alpine', environment: { variables: { A: '1' } } };
    expect(services.map((service) => service.document)).toMatchObject([
      { name: 'one', ...common },
      { name: 'two', ...common },
      { name: 'three', ...common, environment: { variables: { A: '1' }, secrets: { K: 'v' } } },
    ]);
  });

  it('leaves out what is null, and keeps a variable named __proto__', () => {
    const text = withService('memory:', 'input: ~', 'environment: {variables: {__proto__: x}}');
    expect(Object.keys(serviceOf(text) ?? {})).not.toContain('memory');
    expect(JSON.stringify(serviceOf(text)?.['environment'])).toBe('{"variables":{"__proto__":"x"}}');
  });
});

describe('errors', () => {
  it('names file, line, column and path, all at once', () => {
    const text = withService(
      'input:',
      '- storage_provider: minio',
      '  path: [a]',
      '- {path: " / "}',
      'synchronous: {min_scale: many}',
      'enable_gpu: perhaps',
      'allowed_users: ada',
      'environment: {variables: {A: {b: 1}}}',
    );
    expect(problemsOf(text)).toEqual([
      'fdl.yaml:9:15: functions.oscar[0].local.input[0].path: must be text, but is a list; put it in quotes if it is text',
      'fdl.yaml:10:9: functions.oscar[0].local.input[1].storage_provider: is missing',
      'fdl.yaml:10:16: functions.oscar[0].local.input[1].path: names no bucket',
      'fdl.yaml:11:32: functions.oscar[0].local.synchronous.min_scale: must be a whole number, but is text',
      'fdl.yaml:12:19: functions.oscar[0].local.enable_gpu: must be true or false, but is text',
      'fdl.yaml:13:22: functions.oscar[0].local.allowed_users: must be a list, but is text',
      'fdl.yaml:14:36: functions.oscar[0].local.environment.variables.A: must be text, but is a map; put it in quotes if it is text',
    ]);
  });

  it.each([
    ['', 'fdl.yaml:1:1: is empty; an FDL file begins with "functions:"'],
    ['# nothing\n', 'fdl.yaml:1:1: is empty; an FDL file begins with "functions:"'],
    ['- a\n', 'fdl.yaml:1:1: an FDL file is a map that begins with "functions:", but this is a list'],
    [
      'name: x\nscript: y\n',
      'fdl.yaml:1:1: functions: is missing; a service belongs under "functions: oscar: - <cluster>:"',
    ],
    ['functions:\n', 'fdl.yaml:1:11: functions: must be a map with the key "oscar", but is nothing'],
    ['functions: {aws: []}', 'fdl.yaml:1:12: functions.oscar: is missing'],
    [
      'functions: {oscar: {}}',
      'fdl.yaml:1:20: functions.oscar: must be a list ("- <cluster>:"), but is a map',
    ],
    ['functions: {oscar: []}', 'fdl.yaml:1:20: functions.oscar: names no service'],
    [
      'functions: {oscar: [x]}',
      'fdl.yaml:1:21: functions.oscar[0]: must be a map of a cluster to its service, but is text',
    ],
    ['functions: {oscar: [{}]}', 'fdl.yaml:1:21: functions.oscar[0]: names no cluster'],
    [
      'functions: {oscar: [a: 1]}',
      'fdl.yaml:1:24: functions.oscar[0].a: must be a map with the service, but is the number 1',
    ],
    [
      'a: 1\n---\nb: 2\n',
      'fdl.yaml:2:1: a second YAML document begins here; put each into a file of its own',
    ],
    ['functions:\n\toscar: []\n', 'fdl.yaml:2:1: a tab is used as indentation; YAML takes spaces only'],
    ['functions: *nowhere\n', 'fdl.yaml:1:12: nothing before this is anchored as "&nowhere"'],
  ])('says what is wrong with %j', (text, message) => {
    expect(problemsOf(text)[0]).toContain(message);
  });

  it('says that a file is nested too deeply', () => {
    expect(problemsOf('['.repeat(100_000))[0]).toContain('is nested too deeply');
  });

  it('sees a service that is not indented below its cluster', () => {
    const text = 'functions:\n  oscar:\n  - local:\n    name: demo\n    image: alpine\n';
    expect(problemsOf(text)).toEqual([
      'fdl.yaml:3:5: functions.oscar[0].local: is empty; its service has to be indented further than the cluster',
    ]);
  });

  it('refuses keys that are there twice, in whatever case', () => {
    expect(problemsOf(withService('memory: 1Gi', 'memory: 2Gi'))).toEqual([
      'fdl.yaml:8:7: the key "memory" is there twice',
    ]);
    expect(problemsOf(withService('memory: 1Gi', 'Memory: 2Gi'))).toEqual([
      'fdl.yaml:8:7: functions.oscar[0].local.Memory: is the same key as "memory"; upper and lower case make no difference',
    ]);
    expect(problemsOf('nifi: {a: 1, a: 2}\nfunctions: {oscar: []}')[0]).toBe(
      'fdl.yaml:1:14: the key "a" is there twice',
    );
  });

  it('wants name, image and script', () => {
    expect(problemsOf('functions: {oscar: [a: {memory: 1Gi}]}')).toEqual([
      'fdl.yaml:1:24: functions.oscar[0].a.name: is missing',
      'fdl.yaml:1:24: functions.oscar[0].a.script: is missing',
      'fdl.yaml:1:24: functions.oscar[0].a.image: is missing; "build" in its place makes one',
    ]);
    const long = 'functions: {oscar: [a: {name: ' + 'n'.repeat(40) + ', image: i, script: s}]}';
    expect(problemsOf(long)).toEqual([
      'fdl.yaml:1:31: functions.oscar[0].a.name: is longer than 39 characters',
    ]);
  });

  it.each<[string, ReadScript, string]>([
    ['a.sh', () => ({ problem: 'does not exist' }), 'the script a.sh does not exist'],
    ['a.sh', () => ({ bytes: new Uint8Array(maxScriptBytes + 1) }), 'the script a.sh is over 1 MiB'],
    ['a.sh', () => ({ bytes: Uint8Array.of(0xff) }), 'the script a.sh is not UTF-8 text'],
    ['a.sh', () => ({ bytes: bytes(' \n') }), 'the script a.sh is empty'],
    ['|\n        echo hi', scripts, 'must be the path of a file, not the script itself'],
  ])('refuses the script %j', (script, read, message) => {
    const text = withService().replace('script: a.sh', `script: ${script}`);
    expect(problemsOf(text, read)).toEqual([`fdl.yaml:6:15: functions.oscar[0].local.script: ${message}`]);
  });

  it('takes a script of exactly 1 MiB', () => {
    const script = new Uint8Array(maxScriptBytes).fill(0x23);
    expect(problemsOf(withService(), () => ({ bytes: script }))).toEqual([]);
  });

  it('refuses what is no text, with its place, and what is too large', () => {
    const broken = new Uint8Array([...bytes('functions:\n  é'), 0xff, 0x20]);
    expect(() => parseFdl('f', broken, scripts)).toThrow('f:2:4: is not UTF-8 text');
    expect(() => parseFdl('f', new Uint8Array(maxFdlBytes + 1), scripts)).toThrow('f:1:1: is too large');
  });

  it('ends an alias bomb, also one that goes round in circles', () => {
    const services = Array.from({ length: 300 }, () => '  - c: *s').join('\n');
    const inputs = Array.from({ length: 300 }, () => '*i').join(', ');
    const bomb = `x: [&i {storage_provider: minio, path: a/b}, &s {name: d, image: i, script: s, input: [${inputs}]}]`;
    expect(problemsOf(`${bomb}\nfunctions:\n  oscar:\n${services}\n`)[0]).toContain(
      'too large: more than 50000 values',
    );
    const circle = withService('kserve: &k {a: *k, b: *k, c: *k}');
    expect(problemsOf(circle).join('\n')).toMatch(/nested too deeply|too large/);
  });
});

describe('warnings', () => {
  it('names unknown keys with what was probably meant', () => {
    const text = `${withService('memroy: 1Gi', 'log_levle: DEBUG', 'replicas: []', 'volume_status: {}', 'zzz: 1', 'input: [{storage_provider: minio, path: a/b, sufix: [x]}]')}extra: 1\n`;
    const at = 'functions.oscar[0].local';
    expect(warningsOf(text)).toEqual([
      `fdl.yaml:7:7: ${at}.memroy: is not a known key and is ignored; did you mean "memory"?`,
      `fdl.yaml:8:7: ${at}.log_levle: is not a known key and is ignored; did you mean "log_level"?`,
      `fdl.yaml:9:7: ${at}.replicas: is a key of OSCAR v3 and is ignored; see "federation"`,
      `fdl.yaml:10:7: ${at}.volume_status: is set by the server and is ignored`,
      `fdl.yaml:11:7: ${at}.zzz: is not a known key and is ignored`,
      `fdl.yaml:12:52: ${at}.input[0].sufix: is not a known key and is ignored; did you mean "suffix"?`,
      'fdl.yaml:13:1: extra: is not a known key and is ignored',
    ]);
  });

  it('says when a YAML tag means nothing here', () => {
    expect(warningsOf(withService('memory: !ref 1Gi'))).toEqual(['fdl.yaml:7:15: Unresolved tag: !ref']);
  });
});
