import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  json,
  listen,
  sluice,
  start,
  startServer,
  temporary,
  text,
  until,
  type FakeServer,
  startBucket,
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

const cli = (server: FakeServer, ...args: string[]) =>
  sluice([...args, '--url', server.url], { cwd: folder.path });

describe('file get', () => {
  it('writes objects, folders and globs below the destination', async () => {
    const server = await serveBucket({
      'out/a.png': 'A',
      'out/sub/b.png': 'B',
      'out/c.txt': 'C',
      'out/': '',
    });
    expect((await cli(server, 'file', 'get', 'b/out/a.png')).code).toBe(0);
    expect((await cli(server, 'file', 'get', 'b/out/a.png', 'renamed.png')).code).toBe(0);
    expect((await cli(server, 'file', 'get', 'b/out', 'all')).code).toBe(0);
    expect((await cli(server, 'file', 'get', 'b/out/**/*.png', 'pngs')).code).toBe(0);
    expect(readdirSync(folder.path, { recursive: true }).map(String).sort()).toEqual([
      'a.png',
      'all',
      'all/a.png',
      'all/c.txt',
      'all/sub',
      'all/sub/b.png',
      'pngs',
      'pngs/a.png',
      'pngs/sub',
      'pngs/sub/b.png',
      'renamed.png',
    ]);
    expect((await cli(server, 'file', 'get', 'b/out/c.txt', '-')).stdout).toBe('C');
    expect(await cli(server, 'file', 'get', 'b/nothing')).toMatchObject({ code: 3 });
    expect(await cli(server, 'file', 'get', 'b/*.gif', 'x')).toMatchObject({ code: 3 });
  });

  it('never leaves the destination', async () => {
    const server = await serveBucket({
      'out/../../evil': 'x',
      'out//abs': 'x',
      'out/./dot': 'x',
      'out/good': 'x',
    });
    const ended = await cli(server, 'file', 'get', 'b/out/', 'to/here', '--json');
    expect(ended.code).toBe(1);
    const { files } = JSON.parse(ended.stdout) as { files: { key: string; error?: { code: string } }[] };
    expect(files.filter(({ error }) => error?.code === 'unsafe_key')).toHaveLength(3);
    expect(readdirSync(folder.path, { recursive: true }).map(String).sort()).toEqual([
      'to',
      'to/here',
      'to/here/good',
    ]);
  });

  it('begins again when the connection breaks: the file is whole, and nothing else is left', async () => {
    let count = 0;
    const server = await serveBucket({ big: 'x'.repeat(100_000) }, ({ method, url }, response) => {
      if (method !== 'GET' || !url.endsWith('/big')) return false;
      count += 1;
      if (count > 2) return false;
      response.writeHead(200, { 'content-length': '100000' });
      response.write('y'.repeat(50_000), () => response.destroy());
      return true;
    });
    expect((await cli(server, 'file', 'get', 'b/big')).code).toBe(0);
    expect(readFileSync(path.join(folder.path, 'big'), 'utf8')).toBe('x'.repeat(100_000));
    expect(readdirSync(folder.path)).toEqual(['big']);
  });

  it('leaves no half of a file when it is stopped', async () => {
    const server = await serveBucket({ big: 'x' }, ({ method, url }, response) => {
      if (method !== 'GET' || !url.endsWith('/big')) return false;
      response.writeHead(200, { 'content-length': '100000' });
      response.write('half');
      return true;
    });
    local('big', 'old');
    const running = start(['file', 'get', 'b/big', '--url', server.url], { cwd: folder.path });
    await until(
      () => readdirSync(folder.path).some((name) => name.endsWith('.part')),
      'the download has begun',
    );
    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
    expect(readdirSync(folder.path)).toEqual(['big']);
    expect(readFileSync(path.join(folder.path, 'big'), 'utf8')).toBe('old');
  });
});

describe('file ls and rm', () => {
  it('lists page after page, as lines and as one document', async () => {
    const server = await startServer(({ url }, response) => {
      const after = new URL(url, 'http://x').searchParams.get('after');
      json(
        response,
        after === null
          ? { objects: [{ key: 'a', size: 1 }], next: 'a' }
          : { objects: [{ key: `b\n${after}`, size: 2048 }] },
      );
    });
    servers.push(server);
    const ended = await cli(server, 'file', 'ls', 'b');
    expect(ended.stdout).toBe(`      1 B  -         b/a\n  2.0 KiB  -         b/b\\na\n`);
    expect(ended.stderr).toBe('2 objects, 2.0 KiB\n');
    expect(JSON.parse((await cli(server, 'file', 'ls', 'b', '--json')).stdout)).toEqual({
      objects: [
        { key: 'a', size: 1 },
        { key: 'b\na', size: 2048 },
      ],
      bucket: 'b',
    });
  });

  it('keeps to one JSON document when a later page fails', async () => {
    const server = await startServer(({ url }, response) => {
      if (url.includes('after=')) text(response, 'broken', 500);
      else json(response, { objects: [{ key: 'a', size: 1 }], next: 'a' });
    });
    servers.push(server);
    const ended = await cli(server, 'file', 'ls', 'b', '--json');
    expect(ended.code).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      objects: [{ key: 'a' }],
      error: { message: 'broken', status: 500 },
    });
  });

  it('deletes one, and many only when told so', async () => {
    const server = await serveBucket({ 'in/a': '', 'in/b': '', other: '' });
    const deleted = (): string[] =>
      server
        .calls()
        .filter((call) => call.startsWith('DELETE'))
        .map((call) => call.split('/objects/')[1] ?? '');
    expect(await cli(server, 'file', 'rm', 'b/in')).toMatchObject({ code: 2 });
    expect(await cli(server, 'file', 'rm', '-r', 'b/in')).toMatchObject({ code: 2 });
    expect(await cli(server, 'file', 'rm', 'b/missing')).toMatchObject({ code: 3 });
    expect(deleted()).toEqual([]);
    expect(await cli(server, 'file', 'rm', 'b/other')).toMatchObject({ code: 0 });
    expect(await cli(server, 'file', 'rm', '-ry', 'b/in')).toMatchObject({ code: 0 });
    expect(deleted().sort()).toEqual(['in/a', 'in/b', 'other']);
  });
});

describe('memory', () => {
  const size = 400 * 1024 * 1024;
  /** Bytes resident, of another process. */
  const resident = (pid: number): number =>
    Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024;

  it('stays flat for a large file, both ways', async () => {
    const file = local('big', '');
    truncateSync(file, size);
    const hash = createHash('sha256');
    const server = await listen(async (request, response) => {
      if (request.method === 'PUT') {
        for await (const chunk of request as AsyncIterable<Buffer>) hash.update(chunk);
        response.writeHead(201).end();
      } else if (request.method === 'HEAD' || request.url?.endsWith('/big') === true) {
        response.writeHead(200, { 'content-length': String(size) });
        const chunk = Buffer.alloc(1024 * 1024);
        for (let sent = 0; sent < size && request.method === 'GET'; sent += chunk.length) {
          if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve));
        }
        response.end();
      } else json(response, request.url === '/system/services' ? [] : { objects: [] });
    });
    servers.push(server);
    for (const args of [
      ['put', 'big', 'b/'],
      ['get', 'b/big', 'copy'],
    ]) {
      const running = start(['file', ...args, '--url', server.url], { cwd: folder.path });
      let most = 0;
      const timer = setInterval(() => {
        if (running.child.exitCode === null) most = Math.max(most, resident(running.child.pid ?? 0));
      }, 50);
      const ended = await running.ended.finally(() => {
        clearInterval(timer);
      });
      expect(ended).toMatchObject({ code: 0 });
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThan(200 * 1024 * 1024);
    }
    expect(readFileSync(path.join(folder.path, 'copy')).length).toBe(size);
  }, 60_000);
});
