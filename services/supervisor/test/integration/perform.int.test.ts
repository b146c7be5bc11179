import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '@sluice/shared/errors';
import { createLogger } from '@sluice/shared/telemetry';
import type { ScriptRunner } from '../../src/index.ts';
import { openTestStore, type TestStore } from './folder-store.ts';
import { createHarness, output, readAll, type Harness } from './support.ts';

let store: TestStore;
let harness: Harness;

beforeAll(async () => {
  store = await openTestStore();
  harness = createHarness(store.objects);
});
afterAll(async () => {
  await harness.close();
  await store.close();
});

describe('the environment', () => {
  test("is the definition's and ours, and nothing of the server's", async () => {
    process.env['OSCAR_PASSWORD'] = 'server-secret';
    const { log } = await harness.perform({
      run_id: 'demo-env',
      attempt: 2,
      secrets: { token: 'b'.repeat(64), environment: { API_KEY: 'user-secret', BOTH: 'secret' } },
      definition: {
        environment: {
          variables: { COLOUR: 'red', BOTH: 'variable', TMP_OUTPUT_DIR: '/etc' },
          secrets: { API_KEY: '' },
        },
      },
      body: '{}',
      script: 'env',
    });
    delete process.env['OSCAR_PASSWORD'];
    const env = Object.fromEntries(
      log
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]),
    );
    const work = `${harness.dir}/work/demo-env.2`;
    expect(Object.keys(env).sort()).toEqual(
      [
        'API_KEY',
        'BOTH',
        'COLOUR',
        'EVENT',
        'HOME',
        'INPUT_FILE_PATH',
        'JOB_UUID',
        'OSCAR_SERVICE_BASE_PATH',
        'OSCAR_SERVICE_NAME',
        'OSCAR_SERVICE_TOKEN',
        'PATH',
        'PWD',
        'RESOURCE_ID',
        'SLUICE_ATTEMPT',
        'SLUICE_INSTANCE',
        'SLUICE_RUN_ID',
        'TMP_INPUT_DIR',
        'TMP_OUTPUT_DIR',
        'TRACEPARENT',
      ].sort(),
    );
    expect(env).toMatchObject({
      COLOUR: 'red',
      API_KEY: 'user-secret',
      BOTH: 'variable',
      OSCAR_SERVICE_NAME: 'demo',
      OSCAR_SERVICE_TOKEN: 'b'.repeat(64),
      OSCAR_SERVICE_BASE_PATH: '',
      JOB_UUID: 'demo-env',
      RESOURCE_ID: 'test-host',
      SLUICE_RUN_ID: 'demo-env',
      SLUICE_ATTEMPT: 'demo-env/2',
      SLUICE_INSTANCE: harness.instance,
      TMP_INPUT_DIR: `${work}/input`,
      TMP_OUTPUT_DIR: `${work}/output`,
      PWD: work,
      EVENT: '{}',
    });
  });

  test('too large or impossible is a clear failure', async () => {
    const failure = async (variables: Record<string, string>) =>
      (await harness.perform({ definition: { environment: { variables, secrets: {} } } })).outcome;
    expect(await failure({ A: 'x'.repeat(140_000) })).toMatchObject({
      result: 'failed',
      failure: { code: 'environment_too_large' },
    });
    const many = Object.fromEntries(
      Array.from({ length: 10 }, (_, index) => [`V${index}`, 'x'.repeat(100_000)]),
    );
    expect(await failure(many)).toMatchObject({
      result: 'failed',
      failure: { code: 'environment_too_large' },
    });
    expect(await failure({ 'A=B': 'x' })).toMatchObject({
      result: 'failed',
      failure: { code: 'environment_invalid' },
    });
  });

  test('as large as it may be, it works', async () => {
    const variables = Object.fromEntries(
      Array.from({ length: 7 }, (_, index) => [`V${index}`, 'x'.repeat(130_000)]),
    );
    const { outcome } = await harness.perform({
      body: 'z'.repeat(131_064),
      definition: { environment: { variables, secrets: {} } },
    });
    expect(outcome.result).toBe('succeeded');
  });

  test('values of secrets are in no log, whatever fails', async () => {
    const lines: string[] = [];
    const destination = new Writable({
      write: (chunk: Buffer, _encoding, done) => (lines.push(chunk.toString()), done()),
    });
    const log = createLogger({ name: 'test', level: 'trace', destination });
    const own = createHarness(store.objects, { log });
    const secrets = { token: 'c'.repeat(64), environment: { KEY: 'hush-hush' } };
    const debug = { environment: { variables: { LOG_LEVEL: 'DEBUG' }, secrets: {} } };
    for (const options of [
      { script: 'exit 3' },
      { script: '' },
      { body: JSON.stringify({ Records: [{ eventSource: 'rucio' }] }) },
      { secrets: { ...secrets, environment: { KEY: `hush-hush${'x'.repeat(140_000)}` } } },
      { script: 'rm -r "$TMP_OUTPUT_DIR"' },
    ]) {
      const { outcome, log } = await own.perform({ secrets, definition: debug, ...options });
      lines.push(log, JSON.stringify(outcome));
    }
    await own.close();
    const all = lines.join('');
    expect(all).toContain('supervisor - DEBUG');
    expect(all).not.toContain('hush-hush');
    expect(all).not.toContain('cccc');
  });
});

describe('the script', () => {
  test('of the variable SCRIPT goes before that of the definition', async () => {
    const run = async (SCRIPT: string) =>
      harness.perform({
        script: 'echo definition',
        definition: { environment: { variables: { SCRIPT }, secrets: {} } },
      });
    expect((await run(Buffer.from('echo variable').toString('base64'))).log).toBe('variable\n');
    expect((await run('')).log).toBe('definition\n');
    expect((await run('not base64!')).outcome).toMatchObject({
      result: 'failed',
      failure: { code: 'script_missing' },
    });
  });

  test('that is missing: No user script found!', async () => {
    for (const script of ['', '\n \n']) {
      const { outcome, log } = await harness.perform({ script });
      expect(outcome).toMatchObject({
        result: 'failed',
        script_started: false,
        failure: { code: 'script_missing' },
      });
      expect(log).toContain('ERROR - No user script found!');
    }
  });

  test('is kept for the next run, and written again when it was changed or removed', async () => {
    const script = 'echo "$0"';
    const path = (await harness.perform({ script })).log.trim();
    const before = statSync(path);
    expect((await harness.perform({ script })).log.trim()).toBe(path);
    expect(statSync(path).ino).toBe(before.ino);
    writeFileSync(path, 'echo changed');
    expect((await harness.perform({ script })).log.trim()).toBe(path);
    rmSync(path);
    expect((await harness.perform({ script })).log.trim()).toBe(path);
  });

  test('that fails is a failed run; nothing is uploaded, and the failure shows its last lines', async () => {
    const { outcome, log, phases } = await harness.perform({
      script: 'echo one; echo two >&2; echo partial > "$TMP_OUTPUT_DIR/not-uploaded"; exit 3',
    });
    expect(outcome).toEqual({
      result: 'failed',
      script_started: true,
      exit_code: 3,
      outputs: [],
      failure: {
        code: 'script_failed',
        message: 'the script ended with exit code 3; its last lines:\none\ntwo',
      },
    });
    expect(phases).toEqual(['running']);
    expect(log).toMatch(/^one\ntwo\n.* - supervisor - ERROR - the script ended with exit code 3\n$/);
    expect(await store.objects.head('photos', 'out/not-uploaded')).toBeUndefined();
  });

  test.each([
    ['kill -9 $$', { exit_code: 137, failure: { code: 'script_killed' } }],
    ['kill -SEGV $$', { exit_code: 139, failure: { code: 'script_killed' } }],
    ['no-such-command', { exit_code: 127, failure: { code: 'script_failed' } }],
    ['if', { exit_code: 2, failure: { code: 'script_failed' } }],
  ])('%s', async (script, expected) => {
    expect((await harness.perform({ script })).outcome).toMatchObject({ result: 'failed', ...expected });
  });

  test('that takes too long', async () => {
    const { outcome, log } = await harness.perform({ script: 'echo begun; sleep 60', timeout_ms: 200 });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: true,
      failure: {
        code: 'timed_out',
        message: 'the script ran longer than 0.2 s and was ended; its last lines:\nbegun',
      },
    });
    expect(outcome.exit_code).toBeUndefined();
    expect(log).toContain('begun\n');
  });

  test('that is cancelled, before and while it runs', async () => {
    const early = await harness.perform({}, { signal: AbortSignal.abort() });
    expect(early.outcome).toMatchObject({ result: 'cancelled', script_started: false });
    const abort = new AbortController();
    const { outcome } = await harness.perform(
      { script: 'echo x > "$TMP_OUTPUT_DIR/cancelled"; sleep 60' },
      {
        signal: abort.signal,
        report: ({ phase }) => {
          if (phase === 'running') abort.abort();
        },
      },
    );
    expect(outcome).toMatchObject({
      result: 'cancelled',
      script_started: true,
      failure: { code: 'cancelled' },
    });
    expect(await store.objects.head('photos', 'out/cancelled')).toBeUndefined();
  });

  test('lines of the supervisor follow the level; those of the script come once at each', async () => {
    for (const [level, own] of [
      ['DEBUG', true],
      ['INFO', false],
      ['CRITICAL', false],
    ] as const) {
      const { log } = await harness.perform({ definition: { log_level: level }, script: 'echo a; printf b' });
      expect(log.split('\n').filter((line) => line === 'a')).toHaveLength(1);
      expect(log.includes('supervisor')).toBe(own);
      // Their own line, although the script's last one has no end.
      if (own) expect(log).toMatch(/\na\nb\n\d{4}-.* - supervisor - DEBUG - the script ended/);
    }
  });

  test('a report that fails changes nothing', async () => {
    const { outcome } = await harness.perform({}, { report: () => Promise.reject(new Error('away')) });
    expect(outcome.result).toBe('succeeded');
  });

  test('a log that cannot be written changes nothing', async () => {
    const { outcome } = await harness.perform(
      { script: 'for i in 1 2 3 4; do echo $i; done; exit 4' },
      { output: { write: () => Promise.reject(new Error('disk full')) } },
    );
    expect(outcome).toMatchObject({ result: 'failed', exit_code: 4 });
  });

  test('what the script printed is given apart as well', async () => {
    const chunks: Uint8Array[] = [];
    await harness.perform(
      { definition: { log_level: 'DEBUG' }, script: 'echo only this' },
      { onScriptOutput: (chunk) => void chunks.push(chunk) },
    );
    expect(Buffer.concat(chunks).toString()).toBe('only this\n');
  });
});

describe('the work folder', () => {
  test('is made anew where an earlier attempt left one', async () => {
    const plan = harness.plan({ run_id: 'demo-again' });
    mkdirSync(`${harness.workDir(plan)}/output`, { recursive: true });
    writeFileSync(`${harness.workDir(plan)}/output/old`, 'old');
    const { outcome } = await harness.perform({
      run_id: 'demo-again',
      script: 'ls -A "$TMP_OUTPUT_DIR"; echo new > "$TMP_OUTPUT_DIR/fresh"',
    });
    expect(outcome.outputs.map(({ key }) => key)).toEqual(['out/fresh']);
  });

  test.each([
    ['removed', 'cd /; rm -r "$(dirname "$TMP_OUTPUT_DIR")"'],
    ['emptied', 'rm -r "$TMP_OUTPUT_DIR" "$TMP_INPUT_DIR"'],
    ['closed', 'mkdir -p a/b/c; touch a/b/c/d; chmod 000 a/b/c a/b a "$TMP_INPUT_DIR"'],
    ['full of stray files', 'mkdir -p deep/er; touch x deep/y deep/er/z; ln -s /etc link; mkfifo pipe'],
  ])('%s', async (_name, script) => {
    const { outcome } = await harness.perform({ script });
    expect(outcome).toMatchObject({ result: 'succeeded', outputs: [] });
  });

  test('replaced by a link: what it points at stays', async () => {
    mkdirSync(`${harness.dir}/elsewhere/output`, { recursive: true });
    writeFileSync(`${harness.dir}/elsewhere/output/precious`, 'x');
    const { outcome } = await harness.perform({
      script: `cd /; W=$(dirname "$TMP_OUTPUT_DIR"); rm -r "$W"; ln -s "${harness.dir}/elsewhere" "$W"`,
    });
    expect(outcome).toMatchObject({ result: 'succeeded', outputs: [] });
    expect(existsSync(`${harness.dir}/elsewhere/output/precious`)).toBe(true);
    expect(await store.objects.head('photos', 'out/precious')).toBeUndefined();
  });
});

test('a helper that dies under a script is a lost attempt, one that cannot start it may be tried again', async () => {
  const failing = (started: boolean): ScriptRunner => ({
    run: async ({ onStarted }) => {
      if (started) onStarted();
      throw new AppError('unavailable', 'no process');
    },
  });
  for (const [started, expected] of [
    [true, { result: 'lost', script_started: true, failure: { code: 'script_lost' } }],
    [
      false,
      { result: 'failed', script_started: false, retryable: true, failure: { code: 'script_not_started' } },
    ],
  ] as const) {
    const own = createHarness(store.objects, { scripts: failing(started) });
    expect((await own.perform()).outcome).toMatchObject(expected);
    await own.close();
  }
});

test('a work folder that cannot be made is an outcome, not a crash', async () => {
  writeFileSync(`${harness.dir}/file`, '');
  const { outcome } = await harness.perform({}, { workDir: `${harness.dir}/file/run` });
  expect(outcome).toMatchObject({ result: 'failed', script_started: false, retryable: true });
});

test('two runs at once do not meet', async () => {
  const all = await Promise.all(
    Array.from({ length: 8 }, async (_, index) =>
      harness.perform({
        definition: { output: [output(`photos/many/${index}`)] },
        script: `echo ${index} > "$TMP_OUTPUT_DIR/n"; pwd`,
      }),
    ),
  );
  expect(new Set(all.map(({ log }) => log.split('\n')[0])).size).toBe(8);
  for (let index = 0; index < 8; index += 1) {
    expect(await readAll(store.objects, 'photos', `many/${index}/n`)).toBe(`${index}\n`);
  }
});
