import { existsSync, readdirSync } from 'node:fs';
import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { createLogger } from '@sluice/shared/telemetry';
import { openTestStore, type TestStore } from './folder-store.ts';
import { createHarness, minioEvent, output, readAll, refOf, until, type Harness } from './support.ts';

let store: TestStore;
let harness: Harness;

beforeAll(async () => {
  store = await openTestStore();
});
afterAll(async () => store.close());
beforeEach(() => {
  harness = createHarness(store.objects);
});
afterEach(async () => {
  // Whatever happened: no work folder is left.
  expect(existsSync(`${harness.dir}/work`) ? readdirSync(`${harness.dir}/work`) : []).toEqual([]);
  await harness.close();
});

const put = async (key: string, body: string) => store.objects.put('photos', key, Buffer.from(body));
let keys = 0;
const newKey = (name: string): string => `in/${(keys += 1)}/${name}`;
const s3Event = (bucket: string, key: string) => minioEvent(bucket, key);

describe('an uploaded file', () => {
  test('becomes its result', async () => {
    const key = newKey('photo one.txt');
    const input = refOf(await put(key, 'hello'));
    const { outcome, log, phases } = await harness.perform({
      input,
      body: s3Event('photos', key),
      script:
        'echo "working on $STORAGE_OBJECT_KEY from $EVENT_TIME"\n' +
        'tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH").out"\n',
    });
    expect(outcome).toMatchObject({ result: 'succeeded', script_started: true, exit_code: 0 });
    expect(outcome.outputs).toMatchObject([{ bucket: 'photos', key: 'out/photo one.txt.out', size: 5 }]);
    expect(await readAll(store.objects, 'photos', 'out/photo one.txt.out')).toBe('HELLO');
    expect(phases).toEqual(['fetching', 'running', 'uploading']);
    expect(log).toContain(`working on ${key} from 2026-01-02T03:04:05.678Z\n`);
    expect(log).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - supervisor - INFO - input photos\/in/m);
    expect(log).toMatch(/ - supervisor - INFO - uploaded photos\/out\/photo one\.txt\.out \(5 bytes\)\n$/);
  });

  test('its result says where it comes from', async () => {
    const key = newKey('a');
    const input = refOf(await put(key, 'x'));
    const plan = { input, hop: 3, run_id: 'demo-meta', script: 'echo x > "$TMP_OUTPUT_DIR/meta"' };
    await harness.perform(plan);
    const head = await store.objects.head('photos', 'out/meta');
    expect(head?.metadata).toMatchObject({
      'sluice-run': 'demo-meta',
      'sluice-hop': '4',
      'sluice-input-time': String(input.last_modified),
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
  });

  test.each(['-rf', 'a\nb', 'a "b" $c `d`', 'ü €', "it's", `${'x'.repeat(240)}.txt`])(
    'named %j',
    async (name) => {
      const key = newKey(name);
      const input = refOf(await put(key, 'content'));
      const { outcome } = await harness.perform({
        input,
        script:
          'cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/odd"; printf %s "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/path"',
      });
      expect(outcome.result).toBe('succeeded');
      expect(await readAll(store.objects, 'photos', 'out/odd')).toBe('content');
      expect((await readAll(store.objects, 'photos', 'out/path')).endsWith(`/input/${name}`)).toBe(true);
    },
  );

  test('that was replaced: the run is superseded and the script does not run', async () => {
    const key = newKey('a');
    const input = refOf(await put(key, 'one'));
    await put(key, 'two');
    const { outcome, phases } = await harness.perform({ input });
    expect(outcome).toMatchObject({ result: 'superseded', script_started: false, outputs: [] });
    expect(outcome.failure?.message).toContain('replaced');
    expect(phases).toEqual(['fetching']);
  });

  test('that is gone: the run failed for good', async () => {
    const key = newKey('a');
    const input = refOf(await put(key, 'one'));
    await store.objects.remove('photos', key);
    const { outcome } = await harness.perform({ input });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      failure: { code: 'input_missing' },
    });
    expect(outcome.retryable).toBeUndefined();
    const gone = await harness.perform({ input: { ...input, bucket: 'no-such-bucket' } });
    expect(gone.outcome.failure?.code).toBe('input_missing');
  });

  test('is not fetched with file_stage_in: true', async () => {
    const key = newKey('a');
    const input = refOf(await put(key, 'one'));
    const { outcome, log, phases } = await harness.perform({
      input,
      definition: { file_stage_in: true },
      script: 'ls -A "$TMP_INPUT_DIR"; echo "path=$INPUT_FILE_PATH key=$STORAGE_OBJECT_KEY"',
    });
    expect(outcome.result).toBe('succeeded');
    expect(log).toBe(`path= key=${key}\n`);
    expect(phases).toEqual(['running']);
  });
});

describe('a posted event', () => {
  const show = 'cat "$INPUT_FILE_PATH"; echo; echo "$(basename "$INPUT_FILE_PATH")"; echo "EVENT=$EVENT"';

  test('in base64 is the decoded file; EVENT is the body', async () => {
    const { log, phases } = await harness.perform({
      body: Buffer.from('hi there').toString('base64'),
      script: show,
    });
    expect(log).toMatch(/^hi there\nevent-file-[0-9a-f-]{36}\nEVENT=aGkgdGhlcmU=\n$/);
    expect(phases).toEqual(['running']);
  });

  test.each(['{"a": [1, 2]}', '42', 'true', '[1]', 'plain text, not base64'])(
    '%s is the file as it is',
    async (body) => {
      const { log } = await harness.perform({ body, script: 'cat "$INPUT_FILE_PATH"' });
      expect(log).toBe(body);
    },
  );

  test('without a body: an empty file', async () => {
    const { log, outcome } = await harness.perform({ body: '', script: 'wc -c < "$INPUT_FILE_PATH"' });
    expect(outcome.result).toBe('succeeded');
    expect(log.trim()).toBe('0');
  });

  test('of raw bytes: the bytes, EVENT_FILE and no EVENT', async () => {
    const body = Buffer.from([0xff, 0x00, 0x80, 0x0a]);
    const { log } = await harness.perform({
      body,
      script: 'od -An -tx1 "$INPUT_FILE_PATH" "$EVENT_FILE"; echo "EVENT=${EVENT-none}"',
    });
    expect(log.replaceAll(/\s+/g, ' ')).toContain(' ff 00 80 0a ff 00 80 0a EVENT=none ');
  });

  test('larger than a variable: EVENT_FILE', async () => {
    const body = JSON.stringify({ text: 'x'.repeat(200_000) });
    const { log, outcome } = await harness.perform({
      body,
      script: 'echo "EVENT=${EVENT-none}"; cmp "$EVENT_FILE" "$INPUT_FILE_PATH" && wc -c < "$EVENT_FILE"',
    });
    expect(outcome.result).toBe('succeeded');
    expect(log).toContain('EVENT=none\n');
    expect(log.trim().endsWith(String(body.length))).toBe(true);
  });

  test('kept in the system bucket', async () => {
    const text = JSON.stringify({ text: 'y'.repeat(70_000) });
    await store.objects.put(SYSTEM_BUCKET, 'events/1', Buffer.from(text));
    const event = { kind: 'object', key: 'events/1', size: text.length } as const;
    const { log } = await harness.perform({
      event,
      script: 'wc -c < "$INPUT_FILE_PATH"; printf %s "$EVENT" | wc -c',
    });
    expect(log.split('\n').map(Number)).toEqual([text.length, text.length, 0]);
    const gone = await harness.perform({ event: { ...event, key: 'events/none' } });
    expect(gone.outcome).toMatchObject({ result: 'failed', failure: { code: 'event_missing' } });
    const large = await harness.perform({ event: { ...event, size: 2 ** 40 } });
    expect(large.outcome).toMatchObject({ result: 'failed', failure: { code: 'event_too_large' } });
  });

  test('in the form of S3: the object is fetched', async () => {
    const key = newKey('a+b %.txt');
    await put(key, 'from the bucket');
    const show = 'cat "$INPUT_FILE_PATH"; echo; echo "$STORAGE_OBJECT_KEY"';
    const inner = minioEvent('photos', key);
    for (const body of [inner, JSON.stringify({ storage_provider: 'minio.default', event: inner })]) {
      const { log, outcome } = await harness.perform({ body, script: show });
      expect(outcome.result).toBe('succeeded');
      expect(log).toContain(`from the bucket\n${key}\n`);
    }
    const { outcome } = await harness.perform({ body: minioEvent('photos', 'in/nothing') });
    expect(outcome).toMatchObject({ result: 'failed', failure: { code: 'input_missing' } });
  });

  test('with several records: the first, and the log says so', async () => {
    const key = newKey('a');
    await put(key, 'first');
    const event = JSON.parse(minioEvent('photos', key)) as { Records: unknown[] };
    event.Records.push({});
    const { log } = await harness.perform({ body: JSON.stringify(event), script: 'cat "$INPUT_FILE_PATH"' });
    expect(log).toContain('WARNING - the event has 2 records');
    expect(log).toContain('first');
  });

  test.each([
    ['unsupported_provider', { event: { name: 'a' }, subscription: 's' }],
    ['unsupported_provider', { event_type: 'x', payload: { scope: 's' } }],
    ['unsupported_provider', { Records: [{ eventSource: 'OneTrigger' }] }],
    [
      'unsupported_provider',
      { storage_provider: 'minio.other', event: JSON.parse(minioEvent('photos', 'in/a')) as unknown },
    ],
    ['event_invalid', { Records: [{ eventSource: 'minio:s3' }] }],
    ['input_forbidden', JSON.parse(minioEvent(SYSTEM_BUCKET, 'events/1')) as unknown],
  ])('%s', async (code, event) => {
    const { outcome, log } = await harness.perform({ body: JSON.stringify(event) });
    expect(outcome).toMatchObject({ result: 'failed', script_started: false, failure: { code } });
    expect(log).toContain(` - supervisor - ERROR - ${outcome.failure?.message ?? ''}\n`);
  });

  test('of an API gateway: CONT_VAR_*', async () => {
    const body = JSON.stringify({ httpMethod: 'POST', queryStringParameters: { size: '3' }, body: 'aGk=' });
    const { log } = await harness.perform({ body, script: `${show}; echo "$CONT_VAR_size"` });
    expect(log.startsWith('hi\n')).toBe(true);
    expect(log.endsWith('\n3\n')).toBe(true);
  });

  void show;
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
    const { rmSync, statSync, writeFileSync } = await import('node:fs');
    const script = 'echo "$0"';
    const path = (await harness.perform({ script })).log.trim();
    const before = statSync(path);
    expect((await harness.perform({ script })).log.trim()).toBe(path);
    expect(statSync(path).ino).toBe(before.ino);
    writeFileSync(path, 'echo changed');
    expect((await harness.perform({ script })).log.trim()).toBe(path);
    rmSync(path);
    expect((await harness.perform({ script })).log.trim()).toBe(path);
    // Half a file that a crash left is not believed by the next process.
    writeFileSync(path, 'echo');
    const next = createHarness(store.objects);
    await next.close();
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
      { signal: abort.signal, report: ({ phase }) => phase === 'running' && abort.abort() },
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
    const { mkdirSync, writeFileSync } = await import('node:fs');
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
    ['removed', 'cd /; rm -r "$TMP_OUTPUT_DIR/.."'],
    ['emptied', 'rm -r "$TMP_OUTPUT_DIR" "$TMP_INPUT_DIR"'],
    ['closed', 'mkdir -p a/b/c; touch a/b/c/d; chmod 000 a/b/c a/b a "$TMP_INPUT_DIR"'],
    ['full of stray files', 'mkdir -p deep/er; touch x deep/y deep/er/z; ln -s /etc link; mkfifo pipe'],
  ])('%s', async (_name, script) => {
    const { outcome } = await harness.perform({ script });
    expect(outcome).toMatchObject({ result: 'succeeded', outputs: [] });
  });

  test('replaced by a link: what it points at stays', async () => {
    const { mkdirSync, writeFileSync } = await import('node:fs');
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
  void until;
});
