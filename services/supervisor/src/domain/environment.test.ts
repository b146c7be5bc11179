import { describe, expect, test } from 'vitest';
import { AttemptStop } from './attempt-stop.ts';
import { pickBaseEnvironment, scriptEnvironment, type EnvironmentParts } from './environment.ts';

const limits = { stringBytes: 1000, totalBytes: 5000 };
const parts = (more: Partial<EnvironmentParts> = {}): EnvironmentParts => ({
  base: { PATH: '/bin' },
  secrets: {},
  variables: {},
  serviceName: 'demo',
  serviceToken: 'ab12',
  exposed: false,
  runId: 'demo-1',
  attempt: 2,
  instance: 'home',
  hostName: 'node-1',
  traceparent: '00-aa-bb-01',
  query: [],
  http: [],
  eventText: '{"a":1}',
  eventTime: undefined,
  objectKey: undefined,
  inputDir: '/w/input',
  outputDir: '/w/output',
  inputPath: '/w/input/a',
  eventFile: '/w/event',
  ...more,
});
const env = (more: Partial<EnvironmentParts> = {}) => scriptEnvironment(parts(more), limits).env;
const stopCode = (more: Partial<EnvironmentParts>): unknown => {
  try {
    env(more);
  } catch (error) {
    return error instanceof AttemptStop ? error.code : error;
  }
  return 'none';
};

test('the whole environment', () => {
  expect(env({ eventTime: 't', objectKey: 'in/a' })).toEqual({
    PATH: '/bin',
    OSCAR_SERVICE_NAME: 'demo',
    OSCAR_SERVICE_TOKEN: 'ab12',
    OSCAR_SERVICE_BASE_PATH: '',
    JOB_UUID: 'demo-1',
    RESOURCE_ID: 'node-1',
    EVENT: '{"a":1}',
    EVENT_TIME: 't',
    STORAGE_OBJECT_KEY: 'in/a',
    TMP_INPUT_DIR: '/w/input',
    TMP_OUTPUT_DIR: '/w/output',
    INPUT_FILE_PATH: '/w/input/a',
    TRACEPARENT: '00-aa-bb-01',
    SLUICE_RUN_ID: 'demo-1',
    SLUICE_ATTEMPT: 'demo-1/2',
    SLUICE_INSTANCE: 'home',
  });
});

test('exposed services have a base path', () => {
  expect(env({ exposed: true })['OSCAR_SERVICE_BASE_PATH']).toBe('/system/services/demo/exposed');
});

test('who wins: base, secrets, variables, then what we set', () => {
  const found = env({
    secrets: { A: 'secret', B: 'secret', PATH: '/secret' },
    variables: {
      B: 'variable',
      TMP_OUTPUT_DIR: '/etc',
      SLUICE_RUN_ID: 'x',
      JOB_UUID: 'x',
      EVENT: 'x',
      __proto__: 'p',
    },
  });
  expect(found).toMatchObject({
    A: 'secret',
    B: 'variable',
    PATH: '/secret',
    TMP_OUTPUT_DIR: '/w/output',
    SLUICE_RUN_ID: 'demo-1',
    JOB_UUID: 'demo-1',
    EVENT: '{"a":1}',
  });
});

test('query parameters become CONT_VAR_*, unless no variable can hold them', () => {
  const query = [
    ['a', '1'],
    ['b=c', '2'],
    ['n', 'x\0y'],
    ['long', 'x'.repeat(2000)],
  ] as const;
  const found = scriptEnvironment(parts({ query }), limits);
  expect(found.env['CONT_VAR_a']).toBe('1');
  expect(Object.keys(found.env).filter((name) => name.startsWith('CONT_VAR_'))).toEqual(['CONT_VAR_a']);
  expect(found.skipped).toEqual(['b=c', 'n', 'long']);
});

describe('an event that does not fit is named by EVENT_FILE', () => {
  const files = (eventText: string | undefined) => {
    const { env, eventInFile } = scriptEnvironment(parts({ eventText }), limits);
    return { event: env['EVENT'] !== undefined, file: env['EVENT_FILE'], eventInFile };
  };
  const inFile = { event: false, file: '/w/event', eventInFile: true };
  const inVariable = { event: true, file: undefined, eventInFile: false };

  test('at the limit, in bytes and with name and end', () => {
    expect(files('x'.repeat(1000 - 7))).toEqual(inVariable);
    expect(files('x'.repeat(1000 - 6))).toEqual(inFile);
    expect(files('€'.repeat(400))).toEqual(inFile);
  });

  test('with a zero byte, or not text', () => {
    expect(files('a\0b')).toEqual(inFile);
    expect(files(undefined)).toEqual(inFile);
  });

  test('when all others fill the whole', () => {
    const variables = Object.fromEntries(['A', 'B', 'C', 'D'].map((name) => [name, 'x'.repeat(950)]));
    const found = scriptEnvironment(parts({ variables, eventText: 'x'.repeat(900) }), limits);
    expect(found.eventInFile).toBe(true);
  });
});

test('what cannot be an environment is refused clearly', () => {
  expect(stopCode({ variables: { A: 'x'.repeat(998) } })).toBe('environment_too_large');
  expect(stopCode({ variables: { A: 'x'.repeat(997) } })).toBe('none');
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`V${index}`, 'x'.repeat(300)]));
  expect(stopCode({ secrets: many })).toBe('environment_too_large');
  expect(stopCode({ variables: { '': 'x' } })).toBe('environment_invalid');
  expect(stopCode({ variables: { 'A=B': 'x' } })).toBe('environment_invalid');
  expect(stopCode({ secrets: { A: 'x\0' } })).toBe('environment_invalid');
});

test('errors never show a value', () => {
  for (const secrets of [{ A: `hush\0` }, { A: `hush${'x'.repeat(1000)}` }]) {
    expect(() => env({ secrets })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hush') }),
    );
  }
});

test('the base is an allow list', () => {
  expect(
    pickBaseEnvironment({
      PATH: '/bin',
      HOME: '/root',
      LC_ALL: 'C',
      LANG: undefined,
      OSCAR_PASSWORD: 'x',
      NODE_OPTIONS: 'x',
      SLUICE_DATA: 'x',
    }),
  ).toEqual({ PATH: '/bin', HOME: '/root', LC_ALL: 'C' });
});
