import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fails, goesWell, startBuilder, type FakeBuilder } from './fake-builder.ts';
import { json, sluice, start, temporary, until, type Answer } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeBuilder[] = [];
beforeEach(() => {
  folder = temporary();
  writeFileSync(path.join(folder.path, 'requirements.txt'), 'six==1.17.0\n');
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

async function builder(takeOver?: (...args: Parameters<Answer>) => boolean): Promise<FakeBuilder> {
  const server = await startBuilder(takeOver);
  servers.push(server);
  return server;
}

const options = (stdin?: string) => ({
  cwd: folder.path,
  env: { SLUICE_USERNAME: 'Anna', SLUICE_PASSWORD: 'secret' },
  ...(stdin === undefined ? {} : { stdin }),
});
const cli = (server: FakeBuilder, ...args: string[]) => sluice([...args, '--url', server.url], options());
const python = ['--source', 'python:3.11-slim', '--kind', 'python'];
const startArgs = ['build', 'start', ...python, '--file', 'requirements.txt'];

describe('build start', () => {
  it('waits, says each step, and prints the image by digest', async () => {
    const server = await builder();
    const ended = await cli(server, ...startArgs);
    expect(ended).toMatchObject({ code: 0 });
    expect(ended.stdout).toMatch(/^pull\.example:5000\/anna:python-[0-9a-f]{20}@sha256:[0-9a-f]{64}\n$/);
    expect(ended.stderr).toBe(
      'build build-1\nqueued  waits for its turn\nrunning  1/3  [2/3] RUN pip install\nsucceeded\n',
    );
    const [body] = server.started();
    expect(body).toEqual({
      source: 'python:3.11-slim',
      kind: 'python',
      target: expect.stringMatching(/^anna:python-[0-9a-f]{20}$/) as string,
      file: Buffer.from('six==1.17.0\n').toString('base64'),
    });
    expect(server.seen[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('Anna:secret').toString('base64')}`,
    );
  });

  it('names the image by what it is made of: the same file the same tag, another file another one', async () => {
    const server = await builder();
    await cli(server, ...startArgs, '--no-wait');
    await cli(server, ...startArgs, '--no-wait');
    writeFileSync(path.join(folder.path, 'requirements.txt'), 'six==1.16.0\n');
    await cli(server, ...startArgs, '--no-wait');
    await cli(server, ...startArgs, '--no-wait', '--platform', 'linux/amd64');
    const [one, two, three, four] = server.started().map(({ target }) => target);
    expect(two).toBe(one);
    expect(new Set([one, three, four]).size).toBe(3);
  });

  it('sends what is asked for, a file from standard input too, and prints the id', async () => {
    const server = await builder();
    const args = ['build', 'start', ...python, '--file', '-', '--target', 'anna:mine', '--force', '--sbom'];
    const more = ['--provenance', '--platform', 'linux/amd64, linux/arm64', '--no-wait', '--url', server.url];
    expect(await sluice([...args, ...more], options('six\n'))).toMatchObject({
      code: 0,
      stdout: 'build-1\n',
    });
    expect(server.started()).toEqual([
      {
        source: 'python:3.11-slim',
        kind: 'python',
        target: 'anna:mine',
        file: Buffer.from('six\n').toString('base64'),
        platforms: ['linux/amd64', 'linux/arm64'],
        force: true,
        sbom: true,
        provenance: true,
      },
    ]);
    expect(server.calls()).toEqual(['POST /system/api/v1/build/start']);
    const plain = await sluice(
      ['build', 'start', '--source', 'a', '--kind', 'go', '--no-wait', '--json', '--url', server.url],
      options(),
    );
    expect(JSON.parse(plain.stdout)).toMatchObject({ id: 'build-2', data: { id: 'build-2' } });
    expect(server.started()[1]).not.toHaveProperty('file');
  });

  it('shows the end of the log where it fails, and exits with 6', async () => {
    const server = await builder();
    server.course = [fails];
    const ended = await cli(server, ...startArgs);
    expect(ended).toMatchObject({ code: 6, stdout: '' });
    expect(ended.stderr).toContain(
      'failed build-1: requirements_failed: the step [2/3] RUN pip install failed; the last lines of its log:\n' +
        '  | #1 resolve base\n  | #2 ERROR: No matching distribution found for nosuch\n',
    );
    const { stdout, code } = await cli(server, ...startArgs, '--json');
    expect(code).toBe(6);
    expect(JSON.parse(stdout)).toMatchObject({
      id: 'build-2',
      state: 'failed',
      log_tail: ['#1 resolve base', '#2 ERROR: No matching distribution found for nosuch'],
    });
  });

  it('is not stopped by Ctrl-C: it says how to go on', async () => {
    const server = await builder();
    server.course = [{ says: [{ state: 'running', progress: { done: 1, total: 3 } }] }];
    const running = start([...startArgs, '--url', server.url], options());
    await until(() => running.stderr().includes('running  1/3'), 'the first state');
    running.child.kill('SIGINT');
    const ended = await running.ended;
    expect(ended.code).toBe(130);
    expect(ended.stderr).toContain(
      'The build build-1 goes on. Watch it with: sluice build logs -f build-1   End it with: sluice build cancel build-1\n',
    );
    expect(server.calls().some((call) => call.startsWith('DELETE'))).toBe(false);
  });

  it('gives up waiting with 7', async () => {
    const server = await builder();
    server.course = [{ says: [{ state: 'queued' }] }];
    const ended = await cli(server, ...startArgs, '--timeout', '300ms');
    expect(ended.code).toBe(7);
    expect(ended.stderr).toContain('The build build-1 is still queued.');
    expect(ended.stderr).toContain('sluice build logs -f build-1');
  });

  it('waits for room in the queue where it waits at all, and asks again as told', async () => {
    let refused = 0;
    const server = await builder(({ url }, response) => {
      if (!url.endsWith('/start') || (refused += 1) % 2 === 0) return false;
      json(response, { message: 'You have 20 builds waiting.', status: 'ko' }, 429, { 'retry-after': '1' });
      return true;
    });
    const ended = await cli(server, ...startArgs);
    expect(ended.code).toBe(0);
    expect(ended.stderr).toContain('You have 20 builds waiting. Trying again in 1 s.\n');
    const once = await cli(server, ...startArgs, '--no-wait');
    expect(once).toMatchObject({ code: 1, stderr: 'sluice: You have 20 builds waiting.\n' });
  });

  it('passes on what a server without a builder says that it needs', async () => {
    const server = await builder((_, response) => {
      json(response, { message: 'It builds no images. Set BUILDKIT_HOST.', status: 'ko' }, 503);
      return true;
    });
    expect(await cli(server, ...startArgs)).toEqual({
      code: 1,
      stdout: '',
      stderr: 'sluice: It builds no images. Set BUILDKIT_HOST.\n',
    });
    expect(server.calls()).toHaveLength(1);
  });

  it.each([
    [['build', 'start', '--kind', 'python'], "required option '--source <image>' not specified"],
    [['build', 'start', ...python, '--file', 'none.txt'], 'none.txt does not exist'],
    [['build', 'start', ...python, '--file', 'empty.txt'], 'The requirements file empty.txt is empty.'],
    [['build', 'start', ...python, '--file', 'bytes.txt'], 'bytes.txt is not UTF-8 text'],
    [['build', 'start', ...python, '--platform', 'a,,b'], '--platform takes names'],
    [['build', 'start', '--source', 'a', '--kind', 'a b'], '--kind a b is no kind'],
    [['build', 'list', '--limit', '0'], '--limit must be a whole number'],
  ])('does not begin with %j', async (args, message) => {
    writeFileSync(path.join(folder.path, 'empty.txt'), ' \n');
    writeFileSync(path.join(folder.path, 'bytes.txt'), Buffer.from([0x80, 0x81]));
    const server = await builder();
    const ended = await cli(server, ...args);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(message);
    expect(server.calls()).toEqual([]);
  });

  it('has no image for a user whose name can be no repository', async () => {
    const server = await builder();
    const env = { SLUICE_USERNAME: 'anna-b', SLUICE_PASSWORD: 'x' };
    const ended = await sluice([...startArgs, '--url', server.url], { cwd: folder.path, env });
    expect(ended).toMatchObject({ code: 2 });
    expect(ended.stderr).toContain('--target USER:TAG');
  });
});

describe('build ensure', () => {
  it('asks by content, and waits for the build that there is', async () => {
    const asked: unknown[] = [];
    const id = 'f'.repeat(64);
    const image = { image: 'pull.example:5000/anna:python-1', digest: `sha256:${'0'.repeat(64)}` };
    const server = await builder(({ url, body }, response) => {
      if (url.endsWith('/ensure')) {
        asked.push(JSON.parse(body.toString()));
        json(response, { id, state: 'failed', message: 'Build failed', image: null }, 409);
      } else if (url.endsWith('/logs?offset=0'))
        response.writeHead(200).end('{"offset":11,"line":"pip failed"}\n{"event":"end"}\n');
      else json(response, { id, state: asked.length === 1 ? 'failed' : 'succeeded', reused: true, ...image });
      return true;
    });
    const args = ['build', 'ensure', '--builder', 'python-3.11', '--file', 'requirements.txt'];
    const failed = await cli(server, ...args, '--no-retry');
    expect(failed).toMatchObject({ code: 6, stdout: '' });
    expect(failed.stderr).toContain('  | pip failed\n');
    expect(await cli(server, ...args)).toMatchObject({ code: 0, stdout: `${image.image}@${image.digest}\n` });
    const file = Buffer.from('six==1.17.0\n').toString('base64');
    expect(asked).toEqual([
      { builder: 'python-3.11', file, retry: false },
      { builder: 'python-3.11', file, retry: true },
    ]);
  });
});

describe('builds', () => {
  it('are listed page by page, of one state too', async () => {
    const server = await builder();
    server.course = [fails, goesWell];
    for (let count = 0; count < 3; count += 1) await cli(server, ...startArgs);
    const { stdout } = await cli(server, 'build', 'list');
    expect(stdout.split('\n')[0]?.split(/\s+/)).toEqual([
      'BUILD',
      'KIND',
      'STATE',
      'CREATED',
      'TOOK',
      'TARGET',
    ]);
    expect(stdout).toMatch(/^build-3\s+python\s+succeeded\s+\S+ ago\s+12\.00s\s+anna:python-/m);
    expect((await cli(server, 'build', 'list', '--state', 'failed')).stdout).toContain('build-1');
    const two = await cli(server, 'build', 'ls', '--limit', '2');
    expect(two.stderr).toBe('There are older ones: --limit shows more than 2.\n');
    const listed = JSON.parse((await cli(server, 'build', 'list', '--limit', '2', '--json')).stdout) as {
      builds: { id: string }[];
    };
    expect(listed).toMatchObject({ builds: [{ id: 'build-3' }, { id: 'build-2' }], next: '2' });
    expect((await cli(server, 'build', 'list', '--state', 'expired')).stderr).toBe('No builds.\n');
  });

  it('are shown with why they failed', async () => {
    const server = await builder();
    server.course = [fails];
    await cli(server, ...startArgs);
    const { stdout } = await cli(server, 'build', 'status', 'build-1');
    expect(stdout).toContain('state      failed\n');
    expect(stdout).toContain('code       requirements_failed\n');
    expect(stdout).toContain('last lines of the log:\n  #1 resolve base\n');
    expect(await cli(server, 'build', 'status', 'none')).toMatchObject({
      code: 3,
      stderr: 'sluice: There is no build "none".\n',
    });
  });

  it('have logs, followed to the end, each line once', async () => {
    let asked = 0;
    const server = await builder(({ url }, response) => {
      if (url.startsWith('/system/builds/build-1/logs')) {
        // A line more from time to time, and words that are no lines.
        const lines = ['one', 'two', 'three'].slice(0, (asked += 1));
        const from = Number(new URL(url, 'http://x').searchParams.get('offset'));
        const shown = lines.map((line, index) => ({ offset: (index + 1) * 5, line }));
        const text = shown.filter(({ offset }) => offset > from).map((line) => `${JSON.stringify(line)}\n`);
        response.writeHead(200).end(`${text.join('')}{"event":"alive"}\n`);
        return true;
      }
      return false;
    });
    server.course = [{ says: [{ state: 'running' }, { state: 'running' }, { state: 'succeeded' }] }];
    await cli(server, ...startArgs, '--no-wait');
    expect((await cli(server, 'build', 'logs', '-f', 'build-1')).stdout).toBe('one\ntwo\nthree\n');
    expect(JSON.parse((await cli(server, 'build', 'logs', 'build-1', '--json')).stdout)).toEqual({
      lines: [
        { offset: 5, line: 'one' },
        { offset: 10, line: 'two' },
        { offset: 15, line: 'three' },
      ],
      build: 'build-1',
    });
    expect((await cli(server, 'build', 'logs', 'build-9')).code).toBe(3);
  });

  it('are cancelled and forgotten', async () => {
    const server = await builder();
    server.course = [{ says: [{ state: 'running' }] }];
    await cli(server, ...startArgs, '--no-wait');
    expect((await cli(server, 'build', 'cancel', 'build-1')).stderr).toBe('build-1 is cancelled\n');
    expect((await cli(server, 'build', 'clean', '--max-age-hours', '0')).stderr).toBe(
      'Cleaned up 2 jobs successfully.\n',
    );
    expect(JSON.parse(server.seen.at(-1)?.body.toString() ?? '')).toEqual({ max_age_hours: 0 });
  });
});

describe('images', () => {
  it('are listed, shown and deleted, one that is used only by force', async () => {
    const server = await builder();
    const digest = `sha256:${'a'.repeat(64)}`;
    const one = { tag: 'one', image: 'pull.example:5000/anna:one', digest, size: 2048 };
    server.images.set('one', { ...one, kind: 'python', source: 'python:3.11-slim', used_by: ['demo'] });
    expect((await cli(server, 'image', 'list')).stdout).toMatch(
      /^one\s+python\s+2\.0 KiB\s+-\s+python:3\.11-slim\s+demo$/m,
    );
    expect((await cli(server, 'image', 'show', 'one')).stdout).toContain(`digest     ${digest}\n`);
    expect(await cli(server, 'image', 'show', 'none')).toMatchObject({ code: 3 });
    expect(await cli(server, 'image', 'delete', 'one')).toMatchObject({
      code: 1,
      stderr: 'sluice: The service demo uses it.\n--force deletes it all the same.\n',
    });
    expect(await cli(server, 'image', 'rm', 'one', '--force')).toMatchObject({
      code: 0,
      stderr: 'deleted one\n',
    });
    expect((await cli(server, 'image', 'list')).stderr).toContain('No images.');
    expect((await cli(server, 'image', 'delete', 'one')).code).toBe(3);
  });

  it('are pruned, or only said to go', async () => {
    const server = await builder();
    server.images.set('one', { tag: 'one', image: 'anna:one', digest: 'sha256:a', used_by: [] });
    const dry = await cli(server, 'image', 'prune', '--dry-run');
    expect(dry).toMatchObject({
      stdout: '- anna:one  older than 30 days\n',
      stderr: '= anna:old  used by service x\n1 image would go.\n',
    });
    expect((await cli(server, 'image', 'prune')).stderr).toContain('1 image deleted. Their space is freed');
    expect(server.calls()).toEqual(['POST /system/images/prune?dry_run=true', 'POST /system/images/prune']);
  });
});
