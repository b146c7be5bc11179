import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, run, sluice, startServer, temporary, text, type Answer, type FakeServer } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
  writeFileSync(path.join(folder.path, 'one.txt'), 'one');
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

async function serve(answer: Answer): Promise<FakeServer> {
  const server = await startServer(answer);
  servers.push(server);
  return server;
}

const cli = (server: FakeServer, ...args: string[]) =>
  sluice([...args, '--url', server.url], { cwd: folder.path });
const service = {
  name: 'demo',
  token: 'the-token',
  input: [{ storage_provider: 'minio.default', path: 'b/in' }],
};
const input = { bucket: 'b', key: 'in/one.txt', size: 3, etag: 'e' };
const log = (response: Parameters<Answer>[1], body: string | Buffer, next: number, complete = true): void => {
  response.writeHead(200, { 'x-next-offset': String(next), 'x-log-complete': String(complete) }).end(body);
};

describe('file put --wait', () => {
  /** Runs that the object has after its upload; `before` are there already. */
  async function serveRuns(before: object[], after: (asked: number) => object[]): Promise<FakeServer> {
    let isUploaded = false;
    let asked = 0;
    return await serve(({ method, url }, response) => {
      if (url === '/system/services') json(response, [service]);
      else if (method === 'PUT') {
        isUploaded = true;
        response.writeHead(201, { etag: '"e"' }).end();
      } else if (url.startsWith('/system/runs?'))
        json(response, { runs: isUploaded ? [...after((asked += 1)), ...before] : before });
      else if (url.includes('/log')) log(response, 'a\nb\nlast words\n', 15);
      else json(response, { objects: [] });
    });
  }

  it('prints the outputs of the run that this upload started, and of no other', async () => {
    const old = run({
      id: 'demo-old',
      input,
      outputs: [{ bucket: 'b', key: 'out/old', size: 1, etag: 'x' }],
    });
    const states = [[], [run({ id: 'demo-new', state: 'running' })]];
    const done = run({
      id: 'demo-new',
      outputs: [
        { bucket: 'b', key: 'out/a b', size: 1, etag: 'x' },
        { bucket: 'b', key: 'out/c\nd' },
      ],
    });
    const server = await serveRuns([old], (asked) => states[asked - 1] ?? [done]);
    const ended = await cli(server, 'file', 'put', 'one.txt', 'b/in/', '--wait');
    expect(ended).toMatchObject({ code: 0, stdout: 'b/out/a b\nb/out/c\\nd\n' });
    expect(server.calls().filter((call) => call.includes('/system/runs'))).toContain(
      'GET /system/runs?bucket=b&key=in%2Fone.txt&limit=100',
    );
  });

  it('says why a run failed: exit code and last lines, and exits with 6', async () => {
    const failed = run({
      state: 'failed',
      exit_code: 3,
      failure: { code: 'script_failed', message: 'the script failed' },
    });
    const server = await serveRuns([], () => [failed]);
    const ended = await cli(server, 'file', 'put', 'one.txt', 'b/in/', '--wait');
    expect(ended).toMatchObject({ code: 6, stdout: '' });
    expect(ended.stderr).toContain(
      'failed demo-1: exit code 3: the script failed; the last lines of its log:\n  | a\n  | b\n  | last words\n',
    );
    const other = await serveRuns([], () => [failed]);
    const { stdout } = await cli(other, 'file', 'put', 'one.txt', 'b/in/', '--wait', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      files: [
        {
          bucket: 'b',
          key: 'in/one.txt',
          size: 3,
          runs: [{ id: 'demo-1', exit_code: 3, log_tail: ['a', 'b', 'last words'] }],
        },
      ],
    });
  });

  it('waits for the successor of a run that was superseded', async () => {
    const superseded = run({ id: 'demo-1', state: 'superseded' });
    const server = await serveRuns([], (asked) => [
      ...(asked > 1 ? [run({ id: 'demo-2', state: asked > 2 ? 'succeeded' : 'queued' })] : []),
      { ...superseded, state: asked > 1 ? 'superseded' : 'running' },
    ]);
    expect((await cli(server, 'file', 'put', 'one.txt', 'b/in/', '--wait')).code).toBe(0);
  });

  it('gives up after --timeout with 7', async () => {
    const server = await serveRuns([], () => []);
    const ended = await cli(server, 'file', 'put', 'one.txt', 'b/in/', '--wait', '--timeout', '1500ms');
    expect(ended.code).toBe(7);
    expect(ended.stderr).toContain('No run of demo has begun for b/in/one.txt.');
  });

  it('uploads nothing where nothing would run', async () => {
    const server = await serveRuns([], () => []);
    const ended = await cli(server, 'file', 'put', 'one.txt', 'b/elsewhere/', '--wait');
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('Runs start below: b/in/');
    expect(server.calls().some((call) => call.startsWith('PUT'))).toBe(false);
  });
});

describe('submit', () => {
  async function serveJob(
    answer: (count: number, response: Parameters<Answer>[1]) => void,
  ): Promise<FakeServer> {
    let count = 0;
    return await serve(({ method, url }, response) => {
      if (method === 'GET' && url === '/system/services/demo') json(response, service);
      else if (method === 'POST' && url === '/job/demo') answer((count += 1), response);
      else json(response, run({ outputs: [{ bucket: 'b', key: 'out/x' }] }));
    });
  }
  const accept = (response: Parameters<Answer>[1]) => response.writeHead(201, { 'x-run-id': 'demo-1' }).end();

  it('uses the service’s token, and one key for every try', async () => {
    const server = await serveJob((count, response) => {
      if (count === 1) response.destroy();
      else if (count === 2) text(response, 'busy', 503, { 'retry-after': '0' });
      else accept(response);
    });
    expect(await cli(server, 'submit', 'demo')).toMatchObject({ code: 0, stdout: 'demo-1\n' });
    const jobs = server.seen.filter(({ method }) => method === 'POST');
    expect(jobs.map(({ headers }) => headers.authorization)).toEqual(Array(3).fill('Bearer the-token'));
    expect(new Set(jobs.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(jobs[0]?.body.length).toBe(0);
  });

  it.each<[string, string | Buffer, string[], string]>([
    ['JSON as it is', '{"a": 1}\n', [], '{"a": 1}\n'],
    ['text as base64', 'hello', [], 'aGVsbG8='],
    ['bytes as base64', Buffer.from([0, 255, 128]), [], 'AP+A'],
    ['bytes as they are with --raw', 'hello', ['--raw'], 'hello'],
  ])('sends %s', async (_, stdin, options, body) => {
    const server = await serveJob((_, response) => accept(response));
    const args = ['submit', 'demo', '-', ...options, '--idempotency-key', 'k 1', '--url', server.url];
    expect((await sluice(args, { stdin })).code).toBe(0);
    const job = server.seen.at(-1);
    expect([job?.body.toString(), job?.headers['idempotency-key']]).toEqual([body, 'k 1']);
  });

  it('waits and prints the outputs, or the run as JSON', async () => {
    const server = await serveJob((_, response) => accept(response));
    expect(await cli(server, 'submit', 'demo', 'one.txt', '--wait')).toMatchObject({
      code: 0,
      stdout: 'b/out/x\n',
    });
    expect(JSON.parse((await cli(server, 'submit', 'demo', '--wait', '--json')).stdout)).toMatchObject({
      id: 'demo-1',
      state: 'succeeded',
    });
  });

  it('names a service that does not exist', async () => {
    const server = await serve((_, response) => {
      response.writeHead(404).end();
    });
    expect(await cli(server, 'submit', 'demo')).toMatchObject({ code: 3 });
  });
});

describe('run logs', () => {
  const content = Buffer.from('zeile ä 1\nzeile ö 2\nend');

  it('follows to the end, in whatever pieces it comes, also after a broken connection', async () => {
    let count = 0;
    const server = await serve(({ url }, response) => {
      count += 1;
      const offset = Number(new URL(url, 'http://x').searchParams.get('offset'));
      if (count === 1) log(response, content.subarray(0, 7), 7, false);
      else if (count === 2) {
        response.writeHead(200, { 'x-next-offset': '20', 'x-log-complete': 'false', 'content-length': '13' });
        response.write(content.subarray(7, 12), () => response.destroy());
      } else if (count === 3) log(response, content.subarray(offset, 20), 20, false);
      else if (count === 4) log(response, '', 20, false);
      else log(response, content.subarray(offset), content.length, true);
    });
    expect(await cli(server, 'run', 'logs', '-f', 'demo-1')).toMatchObject({
      code: 0,
      stdout: content.toString(),
    });
    expect(count).toBe(5);
  });

  it('gives a line of JSON for each line that is followed, and one document otherwise', async () => {
    const server = await serve((_, response) => {
      log(response, content, content.length);
    });
    expect((await cli(server, 'run', 'logs', 'x', '-f', '--json')).stdout).toBe(
      '{"line":"zeile ä 1"}\n{"line":"zeile ö 2"}\n{"line":"end"}\n',
    );
    expect(JSON.parse((await cli(server, 'run', 'logs', 'x', '--json')).stdout)).toEqual({
      lines: ['zeile ä 1', 'zeile ö 2', 'end'],
      run: 'x',
    });
  });

  it('without -f ends at what is there; with it gives up after --timeout', async () => {
    const server = await serve(({ url }, response) => {
      const offset = Number(new URL(url, 'http://x').searchParams.get('offset'));
      log(response, offset === 0 ? 'so far\n' : '', 7, false);
    });
    expect(await cli(server, 'run', 'logs', 'x')).toMatchObject({ code: 0, stdout: 'so far\n' });
    expect(await cli(server, 'run', 'logs', '-f', 'x', '--timeout', '1500ms')).toMatchObject({
      code: 7,
      stdout: 'so far\n',
    });
  });
});

describe('run list and show', () => {
  it('goes through the pages up to the limit', async () => {
    const server = await serve(({ url }, response) => {
      const query = new URL(url, 'http://x').searchParams;
      const page = Number(query.get('cursor') ?? 0);
      json(response, {
        runs: [run({ id: `r${page}`, service: query.get('service') })],
        next: String(page + 1),
      });
    });
    const { stdout } = await cli(server, 'run', 'list', 'demo', '--limit', '3', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      runs: [{ id: 'r0', service: 'demo' }, { id: 'r1' }, { id: 'r2' }],
      next: '3',
    });
  });

  it('shows a failed run with the end of its log', async () => {
    const server = await serve(({ url }, response) => {
      if (url.includes('/log'))
        log(response, Array.from({ length: 50 }, (_, index) => `line ${index}\n`).join(''), 1);
      else
        json(
          response,
          run({ state: 'failed', exit_code: 1, failure: { code: 'script_failed', message: 'no\u001b[31m' } }),
        );
    });
    const { stdout } = await cli(server, 'run', 'show', 'demo-1');
    expect(stdout).toContain(String.raw`failure    script_failed: no\u001b[31m`);
    expect(stdout).toContain('last lines of the log:\n  line 30\n');
    expect(stdout).toMatch(/ {2}line 49\n$/);
  });
});
