import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '@sluice/shared/errors';
import { openTestStore, type TestStore } from './folder-store.ts';
import { createMemoryStore } from './memory-store.ts';
import { createHarness, output, readAll, refOf, type Harness } from './support.ts';

let store: TestStore;
let harness: Harness;
let folders = 0;
let folder: string;

beforeAll(async () => {
  store = await openTestStore();
  harness = createHarness(store.objects);
});
afterAll(async () => {
  await harness.close();
  await store.close();
});
beforeEach(() => {
  folder = `out-${(folders += 1)}`;
});

const write = (text: string, name = 'a'): string => `printf %s '${text}' > "$TMP_OUTPUT_DIR/${name}"`;
const definition = () => ({ output: [output(`photos/${folder}`)] });
const etag = async (name = 'a') => (await store.objects.head('photos', `${folder}/${name}`))?.etag;

describe('in folders', () => {
  test('a second attempt with equal outputs leaves them alone', async () => {
    const large = `head -c 300000 /dev/zero > "$TMP_OUTPUT_DIR/large"`;
    const plan = { run_id: 'demo-twice', script: `${write('same')}; ${large}`, definition: definition() };
    const first = await harness.perform(plan);
    const before = [await etag('a'), await etag('large')];
    const second = await harness.perform({ ...plan, attempt: 2 });
    expect([await etag('a'), await etag('large')]).toEqual(before);
    expect(second.outcome).toEqual(first.outcome);
  });

  test('with other bytes it replaces them', async () => {
    await harness.perform({ run_id: 'demo-other', script: write('one'), definition: definition() });
    const { outcome } = await harness.perform({
      run_id: 'demo-other',
      attempt: 2,
      script: write('two'),
      definition: definition(),
    });
    expect(outcome.result).toBe('succeeded');
    expect(await readAll(store.objects, 'photos', `${folder}/a`)).toBe('two');
  });

  test('another run with equal bytes uploads: its output is new', async () => {
    await harness.perform({ script: write('same'), definition: definition() });
    const before = await etag();
    await harness.perform({ script: write('same'), definition: definition() });
    expect(await etag()).not.toBe(before);
  });

  test('an old run that comes late does not overwrite the output of a newer state of its input', async () => {
    const old = refOf(await store.objects.put('photos', 'in/late', Buffer.from('old')));
    let fresh = old;
    while (fresh.last_modified <= old.last_modified) {
      fresh = refOf(await store.objects.put('photos', 'in/late', Buffer.from('new')));
    }
    const script = 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/a"';
    const newer = await harness.perform({ input: fresh, script, definition: definition() });
    expect(newer.outcome.result).toBe('succeeded');
    // The old one was fetched before the new one came.
    const late = await harness.perform({
      input: old,
      script: write('old'),
      definition: { ...definition(), file_stage_in: true },
    });
    expect(late.outcome).toMatchObject({ result: 'superseded', script_started: true, exit_code: 0 });
    expect(await readAll(store.objects, 'photos', `${folder}/a`)).toBe('new');
    const again = await harness.perform({
      input: fresh,
      script: write('again'),
      definition: { ...definition(), file_stage_in: true },
    });
    expect(again.outcome.result).toBe('succeeded');
  });

  test('what somebody put there by hand is replaced', async () => {
    await store.objects.put('photos', `${folder}/a`, Buffer.from('by hand'));
    expect((await harness.perform({ script: write('run'), definition: definition() })).outcome.result).toBe(
      'succeeded',
    );
    expect(await readAll(store.objects, 'photos', `${folder}/a`)).toBe('run');
  });

  test('many runs that end at the same time with an output of one name: none has to be repeated', async () => {
    const together = Date.now() / 1000 + 1.5;
    const script = `sleep $(awk "BEGIN { d = ${together} - $(date +%s.%N); print (d > 0 ? d : 0) }"); ${write('x')}`;
    const runs = Array.from({ length: 30 }, async () =>
      harness.perform({ script, definition: definition() }),
    );
    const results = (await Promise.all(runs)).map(({ outcome }) => outcome.result);
    expect(results).toEqual(results.map(() => 'succeeded'));
  });

  test('nothing but the outputs is ever in the bucket', async () => {
    await harness.perform({ script: `${write('1')}; ${write('2', 'b')}`, definition: definition() });
    const { objects } = await store.objects.list('photos', { prefix: folder, limit: 100 });
    expect(objects.map(({ key }) => key)).toEqual([`${folder}/a`, `${folder}/b`]);
  });
});

describe('with a store that fails', () => {
  const memory = () => {
    const objects = createMemoryStore();
    const own = createHarness(objects, { limits: { uploadConflicts: 6 } });
    return { objects, own };
  };
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => write(String(index), `f${index}`)).join('\n');
  const plan = (script: string) => ({ script, definition: { output: [output('b/out')] } });

  test('away for a moment: tried again within the attempt', async () => {
    const { objects, own } = memory();
    let failures = 0;
    objects.before = (operation) => {
      if (operation === 'put' && (failures += 1) <= 2) throw new AppError('unavailable', 'away');
    };
    expect((await own.perform(plan(write('x')))).outcome.result).toBe('succeeded');
    expect(failures).toBe(3);
    await own.close();
  });

  test.each([
    ['unavailable', 'store_unavailable', true],
    ['storage_full', 'storage_full', true],
    ['invalid_input', 'output_failed', undefined],
  ] as const)('%s in the middle of many outputs', async (code, expected, retryable) => {
    const { objects, own } = memory();
    let puts = 0;
    objects.before = (operation) => {
      if (operation === 'put' && (puts += 1) > 10) throw new AppError(code, 'no more');
    };
    const { outcome } = await own.perform(plan(many(40)));
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: true,
      exit_code: 0,
      failure: { code: expected },
    });
    expect(outcome.retryable).toBe(retryable);
    expect(objects.objects.size).toBe(10);
    // The others stop: at most one round of tries for each of the four.
    expect(puts).toBeLessThanOrEqual(10 + 4 * 5);
    await own.close();
  });

  test('another writer: decided again from what is there now, a bounded number of times', async () => {
    const { objects, own } = memory();
    let others = 0;
    let limit = 3;
    objects.before = async (operation, address) => {
      if (operation !== 'put' || others >= limit) return;
      others += 1;
      const before = objects.before;
      objects.before = () => undefined;
      const there = await objects.head('b', 'out/a');
      await objects.put(
        'b',
        'out/a',
        Buffer.from(`other ${others}`),
        there === undefined ? {} : { ifMatch: there.etag },
      );
      objects.before = before;
      expect(address).toBe('b/out/a');
    };
    expect((await own.perform(plan(write('mine')))).outcome.result).toBe('succeeded');
    expect(objects.objects.get('b/out/a')?.bytes.toString()).toBe('mine');
    limit = Infinity;
    const { outcome } = await own.perform(plan(write('again')));
    expect(outcome).toMatchObject({
      result: 'failed',
      retryable: true,
      failure: { code: 'store_unavailable' },
    });
    await own.close();
  });

  test('away at the input: another attempt may do better', async () => {
    const { objects, own } = memory();
    const input = refOf(await objects.put('b', 'in/a', Buffer.from('x')));
    for (const code of ['unavailable', 'storage_full'] as const) {
      objects.before = () => {
        throw new AppError(code, 'away');
      };
      const { outcome } = await own.perform({ input });
      expect(outcome).toMatchObject({ result: 'failed', script_started: false, retryable: true });
    }
    await own.close();
  });

  test('an input cut short is not given to the script', async () => {
    const { objects, own } = memory();
    const input = refOf(await objects.put('b', 'in/a', Buffer.from('abc')));
    const stored = objects.objects.get('b/in/a');
    if (stored !== undefined) objects.objects.set('b/in/a', { ...stored, bytes: Buffer.from('ab') });
    const { outcome } = await own.perform({ input });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      retryable: true,
      failure: { code: 'store_unavailable' },
    });
    await own.close();
  });

  test('a bug of a store is an outcome too, not a crash', async () => {
    const { objects, own } = memory();
    objects.before = () => {
      throw new TypeError('undefined is not a function');
    };
    const { outcome } = await own.perform(plan(write('x')));
    expect(outcome).toMatchObject({ result: 'failed', retryable: true, failure: { code: 'internal_error' } });
    await own.close();
  });

  test('cancelled while it uploads', async () => {
    const { objects, own } = memory();
    const abort = new AbortController();
    let puts = 0;
    objects.before = (operation) => {
      if (operation === 'put' && (puts += 1) === 5) abort.abort();
    };
    const { outcome } = await own.perform(plan(many(40)), { signal: abort.signal });
    expect(outcome).toMatchObject({ result: 'cancelled', script_started: true });
    expect(puts).toBeLessThan(15);
    await own.close();
  });
});
