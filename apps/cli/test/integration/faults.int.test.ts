import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '@sluice/shared/testing';
import {
  json,
  listen,
  run,
  sluice,
  start,
  startServer,
  temporary,
  text,
  until,
  type FakeServer,
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

async function serve(...args: Parameters<typeof startServer>): Promise<FakeServer> {
  const server = await startServer(...args);
  servers.push(server);
  return server;
}

async function serveRaw(...args: Parameters<typeof listen>): Promise<FakeServer> {
  const server = await listen(...args);
  servers.push(server);
  return server;
}

const overview = {
  version: '1',
  services: 0,
  runs: {},
  dead_letters: 0,
  slots: { used: 0, limit: 1 },
  adapters: {},
};

describe('no server', () => {
  it('exits with 5 and names the next command', async () => {
    const port = await freePort();
    const ended = await sluice(['status', '--url', `http://127.0.0.1:${port}`]);
    expect(ended).toMatchObject({ code: 5, stdout: '' });
    expect(ended.stderr).toContain(`No server answers at http://127.0.0.1:${port}.`);
    expect(ended.stderr).toContain('npm start');
  });

  it('says so at once, also for a name that does not exist', async () => {
    const ended = await sluice(['status', '--url', 'http://no-such-host.invalid', '--json']);
    expect(ended.code).toBe(5);
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'unreachable', exit_code: 5 } });
  });
});

describe('the local server', () => {
  it('is found from the current folder, with its password and without a login', async () => {
    const server = await serve((_, response) => {
      json(response, overview);
    });
    const data = path.join(folder.path, 'data');
    const cwd = path.join(folder.path, 'below', 'it');
    mkdirSync(data);
    mkdirSync(cwd, { recursive: true });
    writeFileSync(path.join(data, 'server.json'), JSON.stringify({ url: server.url, pid: process.pid }));
    writeFileSync(path.join(data, 'admin-password'), 'p:ä\n', { mode: 0o600 });
    const ended = await sluice(['status'], { cwd, env: { SLUICE_DATA: '' } });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(server.seen[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('oscar:p:ä').toString('base64')}`,
    );
  });
});

describe('what the server says', () => {
  it.each([
    [401, '', 4, 'does not know this user name'],
    [403, 'User x', 4, 'User x'],
    [404, '', 3, 'no such thing'],
    [400, 'line one\nline two\u001b[31m', 1, 'line one\nline two [31m'],
    [500, '', 1, 'status 500'],
  ])('%d is shown and becomes an exit code', async (status, body, code, shown) => {
    const server = await serve((_, response) => {
      text(response, body, status);
    });
    const ended = await sluice(['run', 'show', 'x', '--url', server.url]);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(shown);
    expect(server.seen).toHaveLength(1);
  });

  it('names the field of a problem document', async () => {
    const server = await serve((_, response) => {
      json(response, { code: 'invalid_input', detail: 'is no such word', field: 'state' }, 400, {
        'content-type': 'application/problem+json',
      });
    });
    const ended = await sluice(['run', 'list', '--state', 'x', '--url', server.url, '--json']);
    expect(ended).toMatchObject({ code: 1, stderr: 'sluice: state: is no such word\n' });
    expect(JSON.parse(ended.stdout)).toEqual({
      runs: [],
      error: {
        code: 'invalid_input',
        message: 'state: is no such word',
        field: 'state',
        status: 400,
        exit_code: 1,
      },
    });
  });

  it('is not a page of HTML', async () => {
    const server = await serve((_, response) => {
      response.writeHead(504, { 'content-type': 'text/html' }).end('<html>nginx</html>');
    });
    const ended = await sluice(['status', '--url', server.url]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).not.toContain('html');
    expect(server.seen).toHaveLength(4);
  });

  it('may be that it is elsewhere: nothing, credentials least of all, is sent there', async () => {
    const server = await serve((_, response) => {
      response.writeHead(301, { location: 'https://elsewhere.example/' }).end();
    });
    const ended = await sluice(['status', '--url', server.url]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('https://elsewhere.example/; if that is right, give it with --url');
  });

  it('may be no JSON at all', async () => {
    const server = await serve((_, response) => {
      text(response, 'hello');
    });
    const ended = await sluice(['status', '--url', server.url]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('/system/overview gave no JSON');
  });
});

describe('a server in trouble', () => {
  it('is asked again after 503, when it says', async () => {
    const at: number[] = [];
    const server = await serve((_, response) => {
      at.push(Date.now());
      if (at.length === 1) text(response, 'busy', 503, { 'retry-after': '1' });
      else json(response, overview);
    });
    expect((await sluice(['status', '--url', server.url])).code).toBe(0);
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(1000);
  });

  it('is not asked again for what may not be done twice', async () => {
    const server = await serve((_, response) => {
      text(response, 'busy', 503, { 'retry-after': '1' });
    });
    expect(await sluice(['run', 'retry', 'x', '--url', server.url])).toMatchObject({
      code: 1,
      stderr: 'sluice: busy\n',
    });
    expect(server.seen).toHaveLength(1);
  });

  it('is asked again when the connection breaks before or within an answer', async () => {
    let count = 0;
    const server = await serve((_, response) => {
      count += 1;
      if (count === 1) response.destroy();
      else if (count === 2) {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{"version"', () => response.destroy());
      } else json(response, overview);
    });
    expect((await sluice(['status', '--url', server.url])).code).toBe(0);
    expect(count).toBe(3);
  });

  it('that closes every connection ends the command with 5', async () => {
    const server = await serve((_, response) => {
      response.destroy();
    });
    expect((await sluice(['status', '--url', server.url])).code).toBe(5);
    expect(server.seen).toHaveLength(3);
  });

  it('that accepts and says nothing ends the command with 7', async () => {
    const server = await serveRaw(() => undefined);
    const ended = await sluice(['status', '--url', server.url, '--timeout', '300ms']);
    expect(ended.code).toBe(7);
    expect(ended.stderr).toContain('no answer for 0.3 s');
  });

  it('that stops in the middle of an answer ends the command with 7', async () => {
    const server = await serveRaw((_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"version"');
    });
    expect((await sluice(['status', '--url', server.url, '--timeout', '300ms'])).code).toBe(7);
  });

  it('that answers slowly but steadily is waited for', async () => {
    const server = await serveRaw(async (_, response) => {
      const body = JSON.stringify(overview);
      response.writeHead(200, { 'content-length': String(body.length) });
      for (const part of body.match(/.{1,20}/g) ?? []) {
        await new Promise((resolve) => setTimeout(resolve, 400));
        response.write(part);
      }
      response.end();
    });
    expect((await sluice(['status', '--url', server.url, '--timeout', '1500ms'])).code).toBe(0);
  });

  it('is no server of this kind when it does not speak HTTP', async () => {
    const server = net.createServer((socket) =>
      socket.on('error', () => undefined).end('SSH-2.0-OpenSSH\r\n'),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const ended = await sluice(['status', '--url', `http://127.0.0.1:${port}`]);
    server.close();
    expect(ended.code).toBe(5);
    expect(ended.stderr).toContain('Is that the address of a Sluice server?');
  });
});

describe('being stopped', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends a wait with %d', async (signal, code) => {
    const server = await serve(({ url }, response) => {
      if (url === '/system/services/demo') json(response, { name: 'demo', token: 't' });
      else if (url === '/job/demo') response.writeHead(201, { 'x-run-id': 'demo-1' }).end();
      else json(response, run({ state: 'running' }));
    });
    const running = start(['submit', 'demo', '--wait', '--url', server.url]);
    await until(() => server.calls().includes('GET /system/runs/demo-1'), 'the run is waited for');
    running.child.kill(signal);
    expect(await running.ended).toMatchObject({ code, stdout: '' });
  });

  it('a reader that has had enough is no error', async () => {
    const server = await serve((_, response) => {
      json(response, {
        objects: Array.from({ length: 1000 }, (_, index) => ({ key: `k${index}`, size: 1 })),
        next: 'more',
      });
    });
    const running = start(['file', 'ls', 'bucket', '--url', server.url]);
    await until(() => running.stdout() !== '', 'the first lines');
    running.child.stdout?.destroy();
    expect((await running.ended).code).toBe(0);
  });
});

describe('the command line', () => {
  it.each([
    [['nonsense'], "unknown command 'nonsense'"],
    [['status', '--nonsense'], "unknown option '--nonsense'"],
    [['status', '--timeout', 'soon'], '"soon" is not a length of time'],
    [['status', '--url', 'ftp://x'], 'is not a URL of a server'],
    [['run', 'list', '--limit', '0'], '--limit must be a whole number'],
    [['file', 'get', '/'], '"/" names no bucket'],
    [['file', 'put', 'x'], 'Nothing to upload'],
    [['file', 'put', 'nowhere.txt', 'b/'], 'nowhere.txt does not exist'],
  ])('%j is refused with 2', async (args, message) => {
    const ended = await sluice(args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(message);
  });

  it('is refused as JSON for programs', async () => {
    const ended = await sluice(['run', 'show', '--json']);
    expect(ended.code).toBe(2);
    expect(JSON.parse(ended.stdout)).toEqual({
      error: { code: 'usage', message: "missing required argument 'run'", exit_code: 2 },
    });
  });

  it('has a version and help', async () => {
    expect((await sluice(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const help = await sluice(['--help']);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain('Exit codes:');
  });

  it('asks before it deletes, and where nobody can be asked says how to go ahead', async () => {
    const server = await serve((_, response) => {
      json(response, { name: 'demo', input: [{ storage_provider: 'minio', path: 'demo/in' }] });
    });
    const ended = await sluice(['service', 'delete', 'demo', '--url', server.url]);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(
      'the buckets demo with all that is in them? Nobody can be asked here.\nSay --yes to go ahead.',
    );
    expect(server.calls()).toEqual(['GET /system/services/demo']);
  });

  it('says under an old Node how to get a newer one', async () => {
    const old =
      'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.19.0"}})';
    const ended = await sluice(['--version'], { nodeArgs: ['--import', old] });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toContain('npx sluice');
  });
});
