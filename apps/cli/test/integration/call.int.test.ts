import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  json,
  sluice,
  start,
  startServer,
  temporary,
  text,
  until,
  type Answer,
  type FakeServer,
  type RunOptions,
} from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

const at = (name: string): string => path.join(folder.path, name);

/** `answers` to `POST /run/demo`, the last one for all further calls. */
async function serve(...answers: Answer[]): Promise<FakeServer> {
  let count = 0;
  const server = await startServer((request, response) => {
    if (request.url === '/system/services/demo') return json(response, { name: 'demo', token: 'the-token' });
    if (request.url !== '/run/demo') return text(response, '', 404);
    const answer = answers[Math.min(count, answers.length - 1)];
    count += 1;
    return answer?.(request, response);
  });
  servers.push(server);
  return server;
}

const calls = (server: FakeServer) => server.seen.filter(({ url }) => url === '/run/demo');
const call = (server: FakeServer, args: readonly string[] = [], options: RunOptions = {}) =>
  sluice(['call', 'demo', ...args, '--url', server.url], { cwd: folder.path, ...options });
const file =
  (bytes: Buffer): Answer =>
  (_, response) => {
    text(response, `${bytes.toString('base64')}\n`, 200, {
      'x-call-id': 'c-1',
      'x-duration-seconds': '0.250000',
    });
  };
const picture = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 1, 2, 255]);

describe('what is sent', () => {
  it('is base64 with the service’s token; JSON and --raw go as they are', async () => {
    const server = await serve(file(picture));
    writeFileSync(at('photo.png'), picture);
    await call(server, ['photo.png']);
    await call(server, ['-'], { stdin: ' {"a":1}' });
    await call(server, ['photo.png', '--raw', '--content-type', 'image/png']);
    await call(server);
    const seen = calls(server);
    expect(seen.map(({ body }) => body)).toEqual([
      Buffer.from(picture.toString('base64')),
      Buffer.from(' {"a":1}'),
      picture,
      Buffer.alloc(0),
    ]);
    expect(seen[0]?.headers.authorization).toBe('Bearer the-token');
    expect(seen[2]?.headers['content-type']).toBe('image/png');
  });

  it('is nothing where the answer could not be kept', async () => {
    const server = await serve(file(picture));
    mkdirSync(at('sub'));
    expect((await call(server, ['-o', 'sub'])).code).toBe(2);
    expect((await call(server, ['-o', 'missing/file'])).code).toBe(2);
    expect((await call(server, ['--content-type', 'ü'])).code).toBe(2);
    expect((await call(server, ['missing.txt'])).code).toBe(2);
    expect(server.seen).toEqual([]);
  });
});

describe('an answer', () => {
  it('that is a file comes decoded, whole, on stdout or in a file', async () => {
    const server = await serve(file(picture));
    const done = await call(server, ['-o', 'small.png']);
    expect(done).toEqual({ code: 0, stdout: '', stderr: 'small.png: 8 B\n' });
    expect(readFileSync(at('small.png'))).toEqual(picture);
    expect(readdirSync(folder.path)).toEqual(['small.png']);
    expect((await call(server, ['--no-decode'])).stdout).toBe(`${picture.toString('base64')}\n`);
    expect(JSON.parse((await call(server, ['--json'])).stdout)).toEqual({
      call_id: 'c-1',
      seconds: 0.25,
      decoded: true,
      size: 8,
      base64: picture.toString('base64'),
    });
    expect((await call(server, ['-o', '/dev/null'])).code).toBe(0);
    expect(existsSync('/dev/null') && readdirSync('/dev').some((name) => name.startsWith('null.'))).toBe(
      false,
    );
  });

  it('that is text comes as it is; several files are named as what they are', async () => {
    const words = await serve((_, response) => {
      text(response, 'hello world\nof logs\n');
    });
    expect(await call(words)).toEqual({ code: 0, stdout: 'hello world\nof logs\n', stderr: '' });
    expect(JSON.parse((await call(words, ['--json'])).stdout)).toEqual({
      decoded: false,
      size: 20,
      text: 'hello world\nof logs\n',
    });
    const archive = await serve(file(Buffer.from('PK\u0003\u0004archive')));
    expect((await call(archive, ['-o', 'a.zip'])).stderr).toContain('ZIP archive');
  });
});

describe('a failure', () => {
  it('of the script gives its output on stderr, and exits with 6', async () => {
    const failed = await serve((_, response) => {
      text(response, 'exit status 3\nno such picture\n', 500);
    });
    expect(await call(failed)).toEqual({
      code: 6,
      stdout: '',
      stderr: 'exit status 3\nno such picture\nsluice: The script failed. (exit code 3)\n',
    });
    expect(JSON.parse((await call(failed, ['--json'])).stdout)).toMatchObject({
      error: { code: 'script_failed', status: 500, exit_code: 6, output: 'exit status 3\nno such picture\n' },
    });
    const slow = await serve((_, response) => {
      text(response, 'Killed process.\n', 408);
    });
    expect(await call(slow)).toMatchObject({
      code: 6,
      stderr: 'Killed process.\nsluice: The script took too long.\n',
    });
  });

  it.each([
    [401, 4],
    [404, 3],
    [413, 1],
    [502, 1],
    [503, 1],
  ])('of another kind, %i, exits with %i and is not tried again', async (status, code) => {
    const server = await serve((_, response) => {
      text(response, 'what the server says', status);
    });
    const done = await call(server);
    expect(done).toMatchObject({ code, stdout: '' });
    expect(done.stderr).toContain('what the server says');
    expect(calls(server)).toHaveLength(1);
  });

  it('before the call was begun is waited out', async () => {
    const busy =
      (status: number): Answer =>
      (_, response) => {
        text(response, 'all runners are busy.', status, { 'retry-after': '0' });
      };
    const server = await serve(busy(429), busy(503), file(picture));
    const done = await call(server, ['-o', 'x', '-'], { stdin: 'abc' });
    expect(done.code).toBe(0);
    expect(done.stderr).toContain('all runners are busy. Trying again in 1 s.');
    expect(calls(server).map(({ body }) => body.toString())).toEqual(['YWJj', 'YWJj', 'YWJj']);
  });

  it('before the call was begun ends with the time-out', async () => {
    const server = await serve((_, response) => {
      text(response, 'all runners are busy.', 503, { 'retry-after': '60' });
    });
    expect(await call(server, ['--timeout', '2s'])).toMatchObject({
      code: 7,
      stderr: 'sluice: The call was not begun in time: all runners are busy.\n',
    });
    expect(calls(server)).toHaveLength(1);
  });

  it('of a runner that had the call is not tried again', async () => {
    const server = await serve((_, response) => {
      text(response, 'a store was away', 503, { 'retry-after': '0', 'x-call-id': 'c-1' });
    });
    expect((await call(server)).code).toBe(1);
    expect(calls(server)).toHaveLength(1);
  });

  it('in the middle says that nobody knows, and is not tried again', async () => {
    const broken = await serve((_, response) => {
      response.destroy();
    });
    const done = await call(broken);
    expect(done.code).toBe(5);
    expect(done.stderr).toContain('The connection broke, and nobody knows how far the call has come.');
    expect(calls(broken)).toHaveLength(1);
    const silent = await serve(() => undefined);
    const late = await call(silent, ['--timeout', '500ms']);
    expect(late.code).toBe(7);
    expect(late.stderr).toContain('sluice submit');
    expect(calls(silent)).toHaveLength(1);
  });
});

it('says after a while what is waited for; Ctrl-C closes the connection', async () => {
  let isClosed = false;
  const server = await serve((_, response) => {
    response.once('close', () => (isClosed = true));
  });
  const running = start(['call', 'demo', '--url', server.url]);
  await until(() => running.stderr().includes('waiting for demo'), 'the hint');
  running.child.kill('SIGINT');
  expect((await running.ended).code).toBe(130);
  await until(() => isClosed, 'the end of the connection');
});
