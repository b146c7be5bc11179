import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { openTestStore, type TestStore } from './folder-store.ts';
import { createHarness, minioEvent, readAll, refOf, type Harness } from './support.ts';

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

const put = async (key: string, body: string) => store.objects.put('photos', key, Buffer.from(body));
let keys = 0;
const newKey = (name: string): string => `in/${(keys += 1)}/${name}`;

describe('an uploaded file', () => {
  test('becomes its result', async () => {
    const key = newKey('photo one.txt');
    const input = refOf(await put(key, 'hello'));
    const { outcome, log, phases } = await harness.perform({
      input,
      body: minioEvent('photos', key),
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
      // The run's trace, by the span of the upload.
      traceparent: expect.stringMatching(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/),
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
});
