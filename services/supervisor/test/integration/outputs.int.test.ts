import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isInsideByParts, openOutput } from '../../src/files/output-files.ts';
import { openTestStore, type TestStore } from './folder-store.ts';
import {
  createHarness,
  output,
  readAll,
  refOf,
  tempFolder,
  type Harness,
  type PlanOptions,
} from './support.ts';

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

/** Runs a script in its output folder. */
const run = async (script: string, more: PlanOptions = {}, outputs = [output(`photos/${folder}`)]) =>
  harness.perform({
    script: `cd "$TMP_OUTPUT_DIR"\n${script}`,
    ...more,
    definition: { output: outputs, ...more.definition },
  });

async function keysIn(bucket = 'photos', prefix = `${folder}/`): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | undefined; ;) {
    const page = await store.objects.list(bucket, {
      prefix,
      limit: 1000,
      ...(after === undefined ? {} : { after }),
    });
    keys.push(...page.objects.map(({ key }) => key.slice(prefix.length)));
    if (page.next === undefined) return keys;
    after = page.next;
  }
}

describe('what is uploaded', () => {
  test('all files, in sub-folders too', async () => {
    const { outcome } = await run(
      'mkdir -p a/b; echo 1 > one; echo 2 > a/two; echo 3 > a/b/three; mkdir empty; : > nothing',
    );
    expect(outcome.result).toBe('succeeded');
    expect(await keysIn()).toEqual(['a/b/three', 'a/two', 'nothing', 'one']);
    expect(outcome.outputs.map(({ key }) => key)).toEqual(
      ['a/b/three', 'a/two', 'nothing', 'one'].map((k) => `${folder}/${k}`),
    );
    expect(await readAll(store.objects, 'photos', `${folder}/a/b/three`)).toBe('3\n');
  });

  test('by prefix and suffix, to several outputs', async () => {
    const { outcome } = await run('touch a.jpg a.png b.png c.txt', {}, [
      output(`photos/${folder}/png`, { suffix: ['.png'] }),
      output(`photos/${folder}/a`, { prefix: ['a'] }),
      output(`photos/${folder}/none`, { prefix: ['x'], suffix: ['.png'] }),
    ]);
    expect(outcome.result).toBe('succeeded');
    expect(await keysIn()).toEqual(['a/a.jpg', 'a/a.png', 'png/a.png', 'png/b.png']);
  });

  test('nothing without outputs', async () => {
    const { outcome, phases } = await run('touch a', {}, []);
    expect(outcome).toMatchObject({ result: 'succeeded', outputs: [] });
    expect(phases).toEqual(['running']);
  });

  test('odd names', async () => {
    const names = ['a b', 'a\nb', '-rf', 'ü€', '"q"', '%41+', 'x'.repeat(200)];
    const { outcome } = await run(
      names.map((name) => `echo x > "./${name.replaceAll(/["$\\`]/g, '\\$&')}"`).join('\n'),
    );
    expect(outcome.result).toBe('succeeded');
    expect(new Set(await keysIn())).toEqual(new Set(names));
  });

  test('white space at the ends of a name goes; only white space is no name', async () => {
    const { log } = await run("echo x > ' a '; echo y > ' '");
    expect(await keysIn()).toEqual(['a']);
    expect(log).toContain('white space only');
  });

  test('two files that would be one object: refused', async () => {
    const { outcome } = await run("echo x > a; echo y > 'a '");
    expect(outcome).toMatchObject({ result: 'failed', exit_code: 0, failure: { code: 'output_failed' } });
    expect(await keysIn()).toEqual([]);
  });

  test("with isolation by user, to the bucket of the input's user", async () => {
    await store.objects.createBucket('photos-alice', {});
    const input = refOf(await store.objects.put('photos-alice', 'in/a', Buffer.from('x')));
    const { outcome } = await run('touch a', {
      input,
      definition: {
        output: [output(`photos/${folder}`)],
        isolation_level: 'USER',
        bucket_list: ['photos-alice'],
      },
    });
    expect(outcome.outputs).toMatchObject([{ bucket: 'photos-alice', key: `${folder}/a` }]);
  });

  test('the definition is looked at before the script runs', async () => {
    const outputs = [output('photos/x', { storage_provider: 'webdav.dcache' })];
    const { outcome } = await run('touch a', {}, outputs);
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      failure: { code: 'unsupported_provider' },
    });
  });

  test('a bucket that is not there is a clear failure', async () => {
    const { outcome } = await run('touch a', {}, [output('no-such-bucket/out')]);
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: true,
      exit_code: 0,
      failure: { code: 'output_failed' },
    });
    expect(outcome.retryable).toBeUndefined();
  });
});

describe('what is not', () => {
  test('links, pipes, sockets, devices: a line each, and nothing blocks', async () => {
    writeFileSync(join(harness.dir, 'secret'), 'secret');
    mkdirSync(join(harness.dir, 'folder'));
    writeFileSync(join(harness.dir, 'folder', 'inner'), 'secret');
    const { outcome, log } = await run(`
      ln -s "${harness.dir}/secret" file-link; ln -s "${harness.dir}/folder" folder-link; ln -s nothing broken-link
      ln -s /proc/self/environ environ; mkfifo pipe; mkdir d; mkfifo d/pipe
      "${process.execPath}" -e "require('net').createServer().listen('socket',()=>process.kill(process.pid,9))"
      mknod device c 1 3; echo ok > ok`);
    expect(outcome.result).toBe('succeeded');
    expect(await keysIn()).toEqual(['ok']);
    for (const [name, reason] of [
      ['file-link', 'a link'],
      ['folder-link', 'a link'],
      ['broken-link', 'a link'],
      ['environ', 'a link'],
      ['pipe', 'a named pipe'],
      ['d/pipe', 'a named pipe'],
      ['socket', 'a socket'],
    ]) {
      expect(log).toContain(` - supervisor - WARNING - the output "${name}" is not uploaded: ${reason}\n`);
    }
  });

  test('the lines about them are bounded', async () => {
    const { log } = await run('i=0; while [ $i -lt 150 ]; do ln -s x "link$i"; i=$((i+1)); done');
    expect(log.split('is not uploaded: a link')).toHaveLength(101);
    expect(log).toContain('WARNING - 50 more outputs are not uploaded');
  });

  test('names that are not UTF-8', async () => {
    const { outcome, log } = await run(
      'echo x > "$(printf "bad\\377")"; mkdir "$(printf "dir\\377")"; echo ok > ok',
    );
    expect(outcome.result).toBe('succeeded');
    expect(await keysIn()).toEqual(['ok']);
    expect(log.split('not valid UTF-8')).toHaveLength(3);
  });

  test('hard links are files', async () => {
    await run('echo x > a; ln a b');
    expect(await keysIn()).toEqual(['a', 'b']);
  });

  test.each([
    ['removed', 'cd /; rm -r "$TMP_OUTPUT_DIR"'],
    ['made a link', 'cd /; rm -r "$TMP_OUTPUT_DIR"; ln -s /etc "$TMP_OUTPUT_DIR"'],
    ['made a file', 'cd /; rm -r "$TMP_OUTPUT_DIR"; echo x > "$TMP_OUTPUT_DIR"'],
  ])('the output folder is %s', async (_name, script) => {
    const { outcome, log } = await run(script);
    expect(outcome).toMatchObject({ result: 'succeeded', outputs: [] });
    expect(log).toContain('WARNING - the script removed its output folder');
  });

  test('too many files are refused before any is uploaded', async () => {
    const own = createHarness(store.objects, { limits: { outputFiles: 50 } });
    const script = (count: number) =>
      `cd "$TMP_OUTPUT_DIR"; i=0; while [ $i -lt ${count} ]; do : > "f$i"; i=$((i+1)); done`;
    const definition = { output: [output(`photos/${folder}`)] };
    expect((await own.perform({ script: script(51), definition })).outcome).toMatchObject({
      result: 'failed',
      failure: { code: 'too_many_outputs' },
    });
    expect(await keysIn()).toEqual([]);
    expect((await own.perform({ script: script(50), definition })).outcome.result).toBe('succeeded');
    await own.close();
  });
});

describe('too many bytes', () => {
  const sized = async (script: string, outputBytes?: number, outputs = [output(`photos/${folder}`)]) => {
    const own = createHarness(store.objects, { limits: outputBytes === undefined ? {} : { outputBytes } });
    const performed = await own.perform({
      script: `cd "$TMP_OUTPUT_DIR"\n${script}`,
      definition: { output: outputs },
    });
    await own.close();
    return performed;
  };

  test('that are but a hole in a sparse file are refused at once, and nothing is uploaded', async () => {
    const { outcome, log } = await sized('echo small > a; truncate -s 200G sparse');
    const message =
      'the outputs have 214748364806 bytes, and one run may upload 107374182400 (SLUICE_OUTPUT_LIMIT); nothing was uploaded';
    expect(outcome).toEqual({
      result: 'failed',
      script_started: true,
      exit_code: 0,
      outputs: [],
      failure: { code: 'output_too_large', message },
    });
    expect(log).toContain(` - ERROR - ${message}\n`);
    expect(await keysIn()).toEqual([]);
  });

  test('are counted over all uploads: the same file twice, and not what is not uploaded', async () => {
    const script = 'head -c 1000 /dev/zero > a.bin; truncate -s 200G left.tmp; ln -s left.tmp link';
    const once = { ...output(`photos/${folder}`), suffix: ['.bin'] };
    expect((await sized(script, 1000, [once])).outcome.result).toBe('succeeded');
    expect((await sized(script, 999, [once])).outcome.failure?.code).toBe('output_too_large');
    const again = { ...once, path: `photos/${folder}/again` };
    expect((await sized(script, 1999, [once, again])).outcome.failure?.code).toBe('output_too_large');
    expect((await sized(script, 2000, [once, again])).outcome.result).toBe('succeeded');
    expect(await keysIn()).toEqual(['a.bin', 'again/a.bin']);
  });
});

// Each is durable by itself: seconds on an idle disk, more on a busy one.
test('two thousand outputs', { timeout: 120_000 }, async () => {
  const { outcome, log } = await run(
    'mkdir d; i=0; while [ $i -lt 2000 ]; do echo $i > "d/$i"; i=$((i+1)); done',
  );
  expect(outcome).toMatchObject({ result: 'succeeded', outputs_omitted: 1900 });
  expect(outcome.outputs).toHaveLength(100);
  expect(await keysIn()).toHaveLength(2000);
  expect(log.split('INFO - uploaded ')).toHaveLength(101);
  expect(log).toContain('uploading 1900 more outputs');
});

describe('opening an output', () => {
  let dir: string;
  beforeEach(() => {
    dir = tempFolder();
    mkdirSync(join(dir, 'output', 'd'), { recursive: true });
    writeFileSync(join(dir, 'output', 'd', 'a'), 'inside');
    mkdirSync(join(dir, 'outside'));
    writeFileSync(join(dir, 'outside', 'a'), 'outside');
  });
  afterEach(async () => (await import('node:fs/promises')).rm(dir, { recursive: true }));
  const open = (name: string) => openOutput(join(dir, 'output'), { name, path: join(dir, 'output', name) });

  test('a folder that became a link after the listing is noticed, with and without /proc', () => {
    symlinkSync(join(dir, 'outside'), join(dir, 'output', 'link'));
    expect(open('link/a')).toEqual({ kind: 'skipped', reason: 'it is no longer inside the output folder' });
    const root = join(dir, 'output');
    for (const [name, inside] of [
      ['d/a', true],
      ['link/a', false],
    ] as const) {
      const fd = openSync(join(root, name), 'r');
      expect(isInsideByParts(root, join(root, name), fd)).toBe(inside);
      closeSync(fd);
    }
    const other = openSync(join(dir, 'outside', 'a'), 'r');
    expect(isInsideByParts(root, join(root, 'd/a'), other)).toBe(false);
    closeSync(other);
  });

  test('what is gone or became something else is skipped', () => {
    symlinkSync('a', join(dir, 'output', 'd', 'l'));
    expect(open('d/l')).toEqual({ kind: 'skipped', reason: 'a link' });
    expect(open('d')).toEqual({ kind: 'skipped', reason: 'not a regular file' });
    expect(open('d/none')).toMatchObject({ kind: 'skipped' });
    expect(open('d/a/b')).toMatchObject({ kind: 'skipped' });
    const opened = open('d/a');
    expect(opened).toMatchObject({ kind: 'opened', size: 6 });
    if (opened.kind === 'opened') closeSync(opened.fd);
  });
});
