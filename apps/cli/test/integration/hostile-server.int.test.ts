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

const env = { SLUICE_USERNAME: 'ada', SLUICE_PASSWORD: 's3cret' };
const cli = (server: FakeServer, ...args: string[]) =>
  sluice([...args, '--url', server.url], { cwd: folder.path, env });
const services = [{ name: 'demo', token: 'the-token', input: [{ path: 'b/in' }] }];

describe.each([301, 302, 303, 307, 308])('a server that sends on with %d', (status) => {
  it.each([
    ['call', 'demo', 'one.txt'],
    ['submit', 'demo', 'one.txt'],
    ['file', 'put', 'one.txt', 'b/in/'],
    ['service', 'list'],
  ])('%s: nothing is sent to the other one', async (...args) => {
    const other = await serve((_, response) => json(response, services));
    const sent = new Set(['/run/demo', '/job/demo', '/system/buckets/b/objects/in/one.txt']);
    const server = await serve(({ url }, response) => {
      const isAsked = args[0] === 'service' || sent.has(url);
      if (isAsked) response.writeHead(status, { location: `${other.url}${url}` }).end();
      else if (url === '/system/services') json(response, services);
      else if (url === '/system/services/demo') json(response, services[0]);
      else json(response, { objects: [], runs: [] });
    });
    const ended = await cli(server, ...args);
    expect(ended.code).not.toBe(0);
    expect(`${ended.stdout}${ended.stderr}`).toContain(`${other.url}/`);
    expect(`${ended.stdout}${ended.stderr}`).not.toMatch(/s3cret|the-token/);
    expect(server.seen.some(({ headers }) => headers.authorization !== undefined)).toBe(true);
    expect(other.calls()).toEqual([]);
  });
});

describe('control characters', () => {
  const evil = 'x\u001b]0;owned\u0007\u001b[2J\u009b31m\r\u202egnp\u2066';
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
  const service = {
    name: evil,
    image: evil,
    cpu: evil,
    memory: evil,
    log_level: evil,
    labels: { [evil]: evil },
    environment: { variables: { [evil]: evil }, secrets: { [evil]: '' } },
    input: [{ storage_provider: evil, path: evil }],
    output: [{ storage_provider: evil, path: evil, suffix: [evil] }],
  };
  const one = run({
    id: evil,
    service: evil,
    state: 'failed',
    input: { bucket: evil, key: evil, size: 1, etag: evil },
    outputs: [{ bucket: evil, key: evil, size: 1, etag: evil }],
    trace_id: evil,
    failure: { code: evil, message: evil },
    timeline: [{ at: evil, state: evil, attempt: 1, message: evil }],
  });

  it.each([
    ['service', 'list'],
    ['service', 'show', 'demo'],
    ['run', 'list'],
    ['run', 'show', 'demo-1'],
    ['file', 'ls', 'b/'],
    ['dead-letter', 'list'],
  ])('of a server’s answer are not obeyed by %s %s', async (...args) => {
    const server = await serve(({ url }, response) => {
      if (url.startsWith('/system/services/')) json(response, service);
      else if (url.startsWith('/system/services')) json(response, [service]);
      else if (url.includes('/log'))
        text(response, '', 200, { 'x-next-offset': '0', 'x-log-complete': 'true' });
      else if (url.startsWith('/system/runs/')) json(response, one);
      else if (url.includes('/objects')) json(response, { objects: [{ key: evil, size: 1 }] });
      else
        json(response, {
          runs: [one],
          dead_letters: [{ id: evil, dead_at: evil, name: evil, key: evil, attempts: 1, reason: evil }],
        });
    });
    const ended = await cli(server, ...args);
    const shown = ended.stdout + ended.stderr;
    expect(shown).toContain(String.raw`x\u001b]0;owned`);
    expect(shown).not.toMatch(obeyed);
  });

  it.each([
    ['a text', (response: Parameters<Answer>[1]) => text(response, evil, 400)],
    [
      'a problem',
      (response: Parameters<Answer>[1]) =>
        json(response, { code: evil, detail: evil, field: evil }, 400, {
          'content-type': 'application/problem+json',
        }),
    ],
    ['JSON of another kind', (response: Parameters<Answer>[1]) => json(response, { message: evil }, 400)],
  ])('of an error that is %s are not obeyed', async (_, answer) => {
    const server = await serve((__, response) => answer(response));
    for (const args of [
      ['service', 'list'],
      ['run', 'show', 'demo-1'],
      ['call', 'demo', 'one.txt'],
    ]) {
      const ended = await cli(server, ...args);
      expect(ended.code).not.toBe(0);
      expect(ended.stderr).toContain('owned');
      expect(ended.stdout + ended.stderr).not.toMatch(obeyed);
    }
  });
});
