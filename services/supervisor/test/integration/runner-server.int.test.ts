import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { eventually, freePort } from '@sluice/shared/testing';
import { AppError } from '@sluice/shared/errors';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createMemoryStore, type MemoryStore } from './memory-store.ts';
import { callHeader, createRunnerHarness, type RunnerHarness } from './runner-support.ts';
import { minioEvent, output } from './support.ts';

let store: MemoryStore;
let runners: RunnerHarness;

beforeEach(async () => {
  store = createMemoryStore();
  runners = await createRunnerHarness(store, {
    bodyBytes: 100_000,
    responseBytes: 200_000,
    answerMemory: 400_000,
    log: { lines: 1000, bytes: 65_536, lineBytes: 1024 },
  });
});
afterEach(async () => {
  await runners.close();
});

const path = (name: string): string => join(runners.harness.dir, name);
const started = (name: string): Promise<unknown> => eventually(name, () => existsSync(path(name)));
/** A process of this id is there, and no zombie. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('without files a call is answered with what the script printed, errors among it', async () => {
  const runner = runners.open('echo out; echo err >&2; cat "$INPUT_FILE_PATH"\n');
  const answer = await runner.invoke('{"a":1}', { call: { headers: { 'content-type': 'text/csv' } } });
  expect(answer).toMatchObject({ status: 200, result: 'succeeded', text: 'out\nerr\n{"a":1}\n' });
  expect(answer.headers.get('content-type')).toBe('text/csv');
  expect(Number(answer.headers.get('x-duration-seconds'))).toBeGreaterThan(0);
});

test('callers elsewhere are given the address that they reach it by, and it listens where it is told to', async () => {
  const port = await freePort();
  const elsewhere = await createRunnerHarness(
    store,
    {},
    { listen: { host: '127.0.0.2', port }, url: 'http://scheduler:8083' },
  );
  try {
    const runner = elsewhere.open('echo out\n');
    expect(runner.url).toBe(`http://scheduler:8083/${runner.id}`);
    const answer = await fetch(`http://127.0.0.2:${port}/${runner.id}/logs`, {
      headers: { authorization: `Bearer ${runner.token}` },
    });
    expect(answer.status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${port}/${runner.id}/logs`)).rejects.toThrow('fetch failed');
  } finally {
    await elsewhere.close();
  }
});

test('one file is the answer in base64, several are an archive; both are uploaded too', async () => {
  const one = runners.open('echo result > "$TMP_OUTPUT_DIR/a.txt"; echo noise\n', {
    output: [output('photos/out')],
  });
  const answer = await one.invoke();
  expect(Buffer.from(answer.text, 'base64').toString()).toBe('result\n');
  expect(store.objects.get('photos/out/a.txt')?.bytes.toString()).toBe('result\n');
  const many = runners.open(
    'mkdir "$TMP_OUTPUT_DIR/d"; echo 1 > "$TMP_OUTPUT_DIR/a"; echo 2 > "$TMP_OUTPUT_DIR/d/b"\n',
  );
  const archive = Buffer.from((await many.invoke()).text, 'base64').toString('latin1');
  expect(archive.startsWith('PK')).toBe(true);
  expect(archive).toContain('d/b');
});

test('a storage event is answered with what was printed, whatever files there are', async () => {
  await store.put('photos', 'in/x.txt', Buffer.from('pixels'));
  const runner = runners.open('cat "$INPUT_FILE_PATH"; cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/y"\n', {
    output: [output('photos/out')],
  });
  expect(await runner.invoke(minioEvent('photos', 'in/x.txt'))).toMatchObject({
    status: 200,
    text: 'pixels\n',
  });
  expect(store.objects.has('photos/out/y')).toBe(true);
});

test('bytes that are not text arrive unchanged', async () => {
  const body = Uint8Array.from({ length: 256 }, (_, index) => index);
  const runner = runners.open('cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/same"\n');
  const answer = await runner.invoke(body);
  expect(Uint8Array.from(Buffer.from(answer.text, 'base64'))).toEqual(body);
});

test('a failed script: 500, its exit status and what it printed; a time-out: 408', async () => {
  const failing = runners.open('echo sorry; exit 7\n');
  expect(await failing.invoke()).toMatchObject({
    status: 500,
    result: 'failed',
    text: 'exit status 7\nsorry\n',
  });
  const slow = runners.open('sleep 600\n');
  const answer = await slow.invoke('{}', { call: { timeout_ms: 200 } });
  expect(answer).toMatchObject({ status: 408, result: 'timed_out', text: 'Killed process.\n' });
  expect(await slow.invoke('{}', { call: { timeout_ms: 200 } })).toMatchObject({ status: 408 });
});

test('a store that is away: 503 and when to come back', async () => {
  store.before = () => {
    throw new AppError('unavailable', 'the store is away');
  };
  const runner = runners.open('cat "$INPUT_FILE_PATH"\n');
  const answer = await runner.invoke(minioEvent('photos', 'in/x.txt'));
  expect(answer).toMatchObject({ status: 503, result: 'unavailable' });
  expect(answer.headers.get('retry-after')).toBe('1');
});

test("the caller's request is in the script's environment, hostile headers included", async () => {
  const runner = runners.open('env | grep ^Http_ | sort\n');
  const headers = {
    'content-type': 'text/plain',
    'x-a-b': 'two words',
    'x;$(id)': 'no',
    proxy: 'http://evil',
    method: 'FAKE',
    nul: 'a\0b',
  };
  const { text } = await runner.invoke('12345', {
    call: { method: 'POST', path: '/run/demo', query: 'a=1&b=2', headers },
  });
  expect(text.trim().split('\n')).toEqual(
    [
      'Http_ContentLength=5',
      'Http_Content_Length=5',
      'Http_Content_Type=text/plain',
      'Http_Method=POST',
      'Http_Path=/run/demo',
      'Http_Query=a=1&b=2',
      'Http_X_A_B=two words',
      'Http_X___Id_=no',
    ].toSorted(),
  );
});

test('one call at a time: the second is refused, nothing of it is started', async () => {
  const runner = runners.open(
    `echo x >> ${path('count')}; while [ ! -e ${path('go')} ]; do sleep 0.05; done\n`,
  );
  const first = runner.invoke();
  await started('count');
  const second = await runner.invoke();
  expect(second).toMatchObject({ status: 429, result: null });
  await runners.open(`touch ${path('go')}; wc -l < ${path('count')}\n`).invoke();
  expect(await first).toMatchObject({ status: 200 });
  expect(await runner.invoke()).toMatchObject({ status: 200 });
});

test('only the token of this runner counts', async () => {
  const runner = runners.open('true\n');
  const other = runners.open('true\n');
  for (const token of ['', 'x', other.token, `${runner.token}x`]) {
    expect(await runner.invoke('{}', { token })).toMatchObject({ status: 401, result: null });
  }
  expect((await fetch(`${runner.url}/logs`)).status).toBe(401);
  expect((await fetch(`${runner.url}/health`)).status).toBe(401);
  expect(await runner.invoke()).toMatchObject({ status: 200 });
});

test('one that is told to drain takes no other call, and says when it is free', async () => {
  const runner = runners.open(`touch ${path('begun')}; while [ ! -e ${path('go')} ]; do sleep 0.05; done\n`);
  const headers = { authorization: `Bearer ${runner.token}` };
  const health = async (): Promise<unknown> => (await fetch(`${runner.url}/health`, { headers })).json();
  expect(await health()).toEqual({ state: 'ready', busy: false });
  const call = runner.invoke();
  await started('begun');
  expect((await fetch(`${runner.url}/drain`, { method: 'POST' })).status).toBe(401);
  expect((await fetch(`${runner.url}/drain`, { headers })).status).toBe(405);
  for (let round = 0; round < 2; round += 1) {
    expect((await fetch(`${runner.url}/drain`, { method: 'POST', headers })).status).toBe(204);
    expect(await health()).toEqual({ state: 'draining', busy: true });
    expect(await runner.invoke()).toMatchObject({ status: 503, result: null });
  }
  await runners.open(`touch ${path('go')}\n`).invoke();
  expect(await call).toMatchObject({ status: 200 });
  expect(await health()).toEqual({ state: 'draining', busy: false });
});

test('requests that are wrong are told so', async () => {
  const runner = runners.open('true\n');
  const authorization = `Bearer ${runner.token}`;
  const bad = [
    undefined,
    '',
    '%%%',
    Buffer.from('{}').toString('base64url'),
    callHeader({ call_id: '../x' }),
  ];
  for (const header of bad) {
    const headers = { authorization, ...(header === undefined ? {} : { 'x-sluice-call': header }) };
    const response = await fetch(`${runner.url}/invoke`, { method: 'POST', body: '{}', headers });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('x-sluice-call');
  }
  expect((await fetch(`${runner.url}/invoke`, { headers: { authorization } })).status).toBe(405);
  expect((await fetch(`${runner.url}/nothing`, { headers: { authorization } })).status).toBe(404);
  expect((await fetch(`${runner.url}/logs?tail=x`, { headers: { authorization } })).status).toBe(400);
  expect(await runner.invoke(Buffer.alloc(100_001))).toMatchObject({ status: 413, result: null });
  expect(await runner.invoke(Buffer.alloc(100_000))).toMatchObject({ status: 200 });
});

test('a client that goes away ends the script and what it started', async () => {
  const runner = runners.open(
    `sleep 600 & echo $! > ${path('child.new')}; mv ${path('child.new')} ${path('child')}; wait\n`,
  );
  const abort = new AbortController();
  const call = runner.invoke('{}', { signal: abort.signal });
  call.catch(() => undefined);
  await started('child');
  const child = Number(readFileSync(path('child'), 'utf8'));
  expect(isAlive(child)).toBe(true);
  abort.abort();
  await eventually('the child to be gone', () => !isAlive(child));
  await eventually(
    'the runner to be free',
    async () => (await runner.invoke('{}', { call: { timeout_ms: 1 } })).status !== 429,
  );
});

test('a client that goes away while it sends its body leaves the runner free', async () => {
  const runner = runners.open('true\n');
  const { port, hostname, pathname } = new URL(`${runner.url}/invoke`);
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST ${pathname} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${runner.token}\r\nx-sluice-call: ${callHeader()}\r\ncontent-length: 1000\r\n\r\nhalf`,
  );
  await eventually('the runner to be busy', async () => (await runner.invoke()).status === 429);
  socket.destroy();
  await eventually('the runner to be free', async () => (await runner.invoke()).status === 200);
});

test('background processes do not outlive a call', async () => {
  const runner = runners.open('sleep 600 >/dev/null 2>&1 & echo $!\n');
  const child = Number((await runner.invoke()).text.trim());
  await eventually('the child to be gone', () => !isAlive(child));
});

test('links in the output are neither answered nor uploaded', async () => {
  const runner = runners.open(
    'ln -s /etc/passwd "$TMP_OUTPUT_DIR/a"; ln -s /etc "$TMP_OUTPUT_DIR/d"; echo fine\n',
    {
      output: [output('photos/out')],
    },
  );
  expect(await runner.invoke()).toMatchObject({ status: 200, text: 'fine\n\n' });
  expect(store.objects.size).toBe(0);
});

test('an answer over the limit is a failure that says where the files are', async () => {
  const big = 'head -c 200000 /dev/zero > "$TMP_OUTPUT_DIR/big"\n';
  const stored = await runners.open(big, { output: [output('photos/out')] }).invoke();
  expect(stored).toMatchObject({ status: 500, result: 'failed' });
  expect(stored.text).toMatch(/SLUICE_CALL_RESPONSE_LIMIT.*uploaded/);
  expect(store.objects.get('photos/out/big')?.bytes.length).toBe(200_000);
  expect((await runners.open(big).invoke()).text).toMatch(/give the service an output path/);
  const printed = await runners.open('head -c 200001 /dev/zero\n').invoke();
  expect(printed).toMatchObject({ status: 500 });
  expect(printed.text).toContain('SLUICE_CALL_RESPONSE_LIMIT');
  const many = 'i=0; while [ $i -lt 3000 ]; do : > "$TMP_OUTPUT_DIR/file-number-$i"; i=$((i+1)); done\n';
  expect((await runners.open(many).invoke()).status).toBe(500);
});

test('answers that nobody reads take no more memory than all may have, and give it back', async () => {
  const printing = 'head -c 150000 /dev/zero\n';
  // The first script is done with its output and waits: 150 of 400 kB are held, then once more as much for the answer.
  const waits = runners.open(
    `${printing}touch ${path('printed')}; while [ ! -e ${path('go')} ]; do sleep 0.05; done\n`,
  );
  const first = waits.invoke();
  await started('printed');
  const files = runners.open('head -c 140000 /dev/zero > "$TMP_OUTPUT_DIR/big"\n');
  const second = await files.invoke();
  expect(second).toMatchObject({ status: 503, result: 'unavailable' });
  expect(second.text).toContain('SLUICE_CALL_RESPONSE_MEMORY');
  expect(second.headers.get('retry-after')).toBe('1');
  expect((await runners.open(printing).invoke()).status).toBe(503);
  // What is small has room, and what failed says so.
  expect((await runners.open('echo small\n').invoke()).status).toBe(200);
  expect((await runners.open(`${printing}${printing}exit 3\n`).invoke()).text).toMatch(/^exit status 3/);
  await runners.open(`touch ${path('go')}\n`).invoke();
  expect((await first).text.length).toBe(150_001);
  await eventually('the memory is free again', async () => (await files.invoke()).status === 200);
});

test('what a script prints is in the log, bounded in lines and bytes', async () => {
  const runner = runners.open('seq 1 100000; head -c 5000000 /dev/zero | tr "\\0" x; printf end\n');
  await runner.invoke();
  expect((await runner.logs('?tail=1')).map((one) => one.message)).toEqual([expect.stringMatching(/xend$/)]);
  const all = await runner.logs('?tail=5000');
  expect(all.length).toBeLessThanOrEqual(1000);
  expect(all.reduce((sum, one) => sum + one.message.length, 0)).toBeLessThanOrEqual(65_536);
  const short = runners.open('seq 1 300\n');
  await short.invoke();
  expect((await short.logs()).length).toBe(200);
  expect((await short.logs('?tail=2')).map((one) => one.message)).toEqual(['299', '300']);
});

test('draining lets the call in hand end and takes no other; the log stays', async () => {
  const runner = runners.open(
    `touch ${path('runs')}; while [ ! -e ${path('go')} ]; do sleep 0.05; done; echo done\n`,
  );
  const first = runner.invoke();
  await started('runs');
  const closed = runners.server.close(runner.id, 60_000);
  expect(await runner.invoke()).toMatchObject({ status: 503, result: null });
  await runners.open(`touch ${path('go')}\n`).invoke();
  expect(await first).toMatchObject({ status: 200, text: 'done\n\n' });
  await closed;
  expect(await runner.invoke()).toMatchObject({ status: 503, result: null });
  expect((await runner.logs()).map((one) => one.message)).toContain('done');
});

test('a drain that takes too long ends the call', async () => {
  const runner = runners.open(`touch ${path('runs')}; sleep 600\n`);
  const first = runner.invoke();
  await started('runs');
  await runners.server.close(runner.id, 50);
  expect(await first).toMatchObject({ status: 503, result: 'unavailable' });
});

test('the folder of a runner is gone with it', async () => {
  const runner = runners.open('touch here\n');
  await runner.invoke();
  await runners.server.close(runner.id, 1000);
  expect(existsSync(join(runners.harness.dir, 'work', runner.id))).toBe(false);
  await runners.server.close('nobody', 0);
});
