import { appendFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, listen, sluice, temporary, text, until, type FakeServer, startBucket } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

function local(name: string, content: string | Buffer = name): string {
  const file = path.join(folder.path, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

async function serveBucket(...args: Parameters<typeof startBucket>): Promise<FakeServer> {
  const server = await startBucket(...args);
  servers.push(server);
  return server;
}

const puts = (server: FakeServer): string[] =>
  server
    .calls()
    .filter((call) => call.startsWith('PUT'))
    .map((call) => call.slice('PUT /system/buckets/b/objects/'.length))
    .sort();

const cli = (server: FakeServer, ...args: string[]) =>
  sluice([...args, '--url', server.url], { cwd: folder.path });

describe('file put', () => {
  it('encodes every odd name so that the key is the name', async () => {
    const names = ['a b+c%25.txt', 'ünï😀.txt', 'new\nline.txt', "q?#&='();.txt", 'x'.repeat(251) + '.txt'];
    for (const name of names) local(`odd/${name}`);
    const server = await serveBucket();
    expect((await cli(server, 'file', 'put', 'odd', 'b/in/')).code).toBe(0);
    expect(
      puts(server)
        .map((key) => decodeURIComponent(key))
        .sort(),
    ).toEqual(names.map((name) => `in/${name}`).sort());
    for (const { method, url, body, headers } of server.seen) {
      if (method !== 'PUT') continue;
      expect(`in/${body.toString().slice('odd/'.length)}`).toBe(
        decodeURIComponent(url.slice('/system/buckets/b/objects/'.length)),
      );
      expect(headers['content-length']).toBe(String(body.length));
    }
  });

  it('takes a destination as cp does', async () => {
    local('one.txt');
    const server = await serveBucket({ 'there/x': '' });
    for (const to of ['b', 'b/new.txt', 'b/folder/', 'b/there', 'b/in']) {
      expect((await cli(server, 'file', 'put', 'one.txt', to)).code).toBe(0);
    }
    expect(puts(server)).toEqual(['folder/one.txt', 'in/one.txt', 'new.txt', 'one.txt', 'there/one.txt']);
  });

  it('takes folders, globs and several files; links to folders are left out', async () => {
    for (const name of ['d/a.jpg', 'd/sub/b.jpg', 'd/.hidden', 'e.txt']) local(name);
    symlinkSync('..', path.join(folder.path, 'd/loop'));
    symlinkSync('a.jpg', path.join(folder.path, 'd/link.jpg'));
    const server = await serveBucket();
    const ended = await cli(server, 'file', 'put', 'd', 'e.txt', 'b/x');
    expect(ended.stderr).toContain('loop: a link that leads to no file');
    expect(puts(server)).toEqual(['x/.hidden', 'x/a.jpg', 'x/e.txt', 'x/link.jpg', 'x/sub/b.jpg']);
    await cli(server, 'file', 'put', 'd/**/*.jpg', 'b/g/');
    expect(puts(server).filter((key) => key.startsWith('g/'))).toEqual(['g/a.jpg', 'g/sub/b.jpg']);
  });

  it('refuses files that would become one object', async () => {
    local('a/x');
    local('c/x');
    const server = await serveBucket();
    const ended = await cli(server, 'file', 'put', 'a/x', 'c/x', 'b/');
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain('would both become b/x');
  });

  it('sends a body again, whole, after 503 and after a broken connection', async () => {
    const content = Buffer.alloc(3_000_000, 'abc');
    local('big', content);
    let count = 0;
    const server = await serveBucket({}, ({ method }, response) => {
      if (method !== 'PUT') return false;
      count += 1;
      if (count === 1) text(response, 'busy', 503, { 'retry-after': '0' });
      else if (count === 2) response.destroy();
      return count < 3;
    });
    expect((await cli(server, 'file', 'put', 'big', 'b/')).code).toBe(0);
    expect(
      server.seen.filter(({ method }) => method === 'PUT').map(({ body }) => body.equals(content)),
    ).toEqual([true, true, true]);
  });

  it('goes on after one file failed, and says which', async () => {
    for (const name of ['d/1', 'd/2', 'd/3']) local(name);
    const server = await serveBucket({}, ({ method, url }, response) => {
      if (method !== 'PUT' || !url.endsWith('/2')) return false;
      json(response, { code: 'too_large', detail: 'too large' }, 413, {
        'content-type': 'application/problem+json',
      });
      return true;
    });
    const ended = await cli(server, 'file', 'put', 'd', 'b/', '--json');
    expect(ended.code).toBe(1);
    const { files } = JSON.parse(ended.stdout) as { files: { key: string; error?: { code: string } }[] };
    expect(files.map(({ key, error }) => `${key} ${error?.code ?? 'ok'}`).sort()).toEqual([
      '1 ok',
      '2 too_large',
      '3 ok',
    ]);
  });

  it('stops at once when the server no longer accepts the password', async () => {
    for (let index = 0; index < 20; index += 1) local(`d/${index}`);
    const server = await serveBucket({}, ({ method }, response) => {
      if (method === 'PUT') text(response, '', 401);
      return method === 'PUT';
    });
    expect((await cli(server, 'file', 'put', 'd', 'b/', '--parallel', '2')).code).toBe(4);
    expect(puts(server).length).toBeLessThan(5);
  });

  it('hears a refusal that comes before the body has gone', async () => {
    local('big', Buffer.alloc(50_000_000));
    const server = await listen((request, response) => {
      if (request.method !== 'PUT') {
        json(response, request.url === '/system/services' ? [] : { objects: [] });
        return;
      }
      response.writeHead(413, { 'content-type': 'text/plain' }).end('too large for this server');
    });
    servers.push(server);
    const ended = await cli(server, 'file', 'put', 'big', 'b/');
    expect(ended).toMatchObject({ code: 1 });
    expect(ended.stderr).toContain('too large for this server');
  });

  it.each([
    ['shorter', (file: string) => truncateSync(file, 1_000_000)],
    ['longer', (file: string) => appendFileSync(file, 'more')],
  ])('notices a file that becomes %s meanwhile', async (_, change) => {
    const file = local('big', Buffer.alloc(30_000_000));
    let begun = false;
    const server = await listen(async (request, response) => {
      if (request.method !== 'PUT') {
        json(response, request.url === '/system/services' ? [] : { objects: [] });
        return;
      }
      request.once('data', () => {
        request.pause();
        begun = true;
      });
      await until(() => changed, 'the file is changed');
      await drain(request);
      response.writeHead(201).end();
    });
    servers.push(server);
    let changed = false;
    const ended = cli(server, 'file', 'put', 'big', 'b/');
    await until(() => begun, 'the upload has begun');
    change(file);
    changed = true;
    expect(await ended).toMatchObject({ code: 1, stdout: '' });
    expect((await ended).stderr).toContain('changed while it was uploaded');
  });
});

async function drain(request: IncomingMessage): Promise<number> {
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) size += chunk.length;
  return size;
}
