import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, sluice, startServer, temporary, text, type Answer, type FakeServer } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
  writeFileSync(path.join(folder.path, 'script.sh'), '#!/bin/sh\r\ntrue\r\n');
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

function fdl(...services: string[]): void {
  const entries = services.map((service) => `  - local: {image: i, script: script.sh, ${service}}`);
  writeFileSync(path.join(folder.path, 'fdl.yaml'), ['functions:', '  oscar:', ...entries, ''].join('\n'));
}

interface Definition {
  readonly name: string;
  readonly [key: string]: unknown;
}

/** Keeps services as the real server does, secrets' values aside. `answer` may take a request over by returning true. */
async function serve(takeOver: (...args: Parameters<Answer>) => boolean = () => false): Promise<FakeServer> {
  const stored = new Map<string, Definition>();
  const server = await startServer((request, response) => {
    if (takeOver(request, response)) return;
    if (request.method === 'GET') {
      const found = stored.get(decodeURIComponent(request.url.split('/').at(-1) ?? ''));
      if (found === undefined) response.writeHead(404).end();
      else json(response, { ...found, token: 'server-side', owner: 'cluster_admin' });
      return;
    }
    const definition = JSON.parse(request.body.toString()) as Definition;
    stored.set(definition.name, blanked(definition));
    const status = request.method === 'POST' ? 201 : 204;
    response
      .writeHead(status, {
        'x-sluice-warning': [`image is not used: it says "i", so nothing`, 'caf\u00c3\u00a9, too'],
      })
      .end();
  });
  servers.push(server);
  return server;
}

function blanked(definition: Definition): Definition {
  const environment = definition['environment'] as { secrets?: Record<string, string> } | undefined;
  if (environment?.secrets === undefined) return definition;
  const secrets = Object.fromEntries(Object.keys(environment.secrets).map((key) => [key, '']));
  return { ...definition, environment: { ...environment, secrets } };
}

const cli = (server: FakeServer, ...args: string[]) =>
  sluice([...args, '--url', server.url], { cwd: folder.path });
const writes = (server: FakeServer): string[] => server.calls().filter((call) => !call.startsWith('GET'));

describe('apply', () => {
  it('creates what is absent, leaves what is equal, replaces what differs', async () => {
    const server = await serve();
    fdl('name: one', 'name: two, memory: 1Gi');
    expect((await cli(server, 'apply', 'fdl.yaml')).stdout).toBe('+ one (new)\n+ two (new)\n');
    expect((await cli(server, 'apply', 'fdl.yaml')).stdout).toBe('= one unchanged\n= two unchanged\n');
    fdl('name: one', 'name: two, memory: 2Gi');
    expect((await cli(server, 'plan', 'fdl.yaml')).stdout).toBe('= one unchanged\n~ two  memory 1Gi → 2Gi\n');
    expect(writes(server)).toEqual(['POST /system/services', 'POST /system/services']);
    expect((await cli(server, 'apply', 'fdl.yaml')).stdout).toBe(
      '= one unchanged\n~ two  memory 1Gi → 2Gi\n',
    );
    expect(writes(server).slice(2)).toEqual(['PUT /system/services']);
    expect(JSON.parse(server.seen.find(({ method }) => method === 'POST')?.body.toString() ?? '')).toEqual({
      name: 'one',
      image: 'i',
      script: '#!/bin/sh\ntrue\n',
      cluster_id: 'local',
    });
  });

  it('shows each of the server’s warnings, commas and accents included', async () => {
    const server = await serve();
    fdl('name: one');
    expect((await cli(server, 'apply', 'fdl.yaml')).stderr).toBe(
      'warning: one: image is not used: it says "i", so nothing\nwarning: one: café, too\n',
    );
    fdl('name: two');
    const { stdout, stderr } = await cli(server, 'apply', 'fdl.yaml', '--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      services: [
        {
          service: 'two',
          action: 'create',
          changes: [],
          sends_secrets: false,
          warnings: ['image is not used: it says "i", so nothing', 'café, too'],
        },
      ],
      warnings: [],
    });
  });

  it('always sends secrets, and never shows them', async () => {
    const server = await serve();
    fdl('name: one, environment: {secrets: {KEY: hush-hush}}');
    const outputs = [];
    for (const command of ['apply', 'plan', 'apply']) {
      const { stdout, stderr } = await cli(server, command, 'fdl.yaml', '--json');
      outputs.push(stdout, stderr);
    }
    expect((await cli(server, 'plan', 'fdl.yaml')).stdout).toBe(
      '= one unchanged (secrets are always sent)\n',
    );
    expect(writes(server)).toEqual(['POST /system/services', 'PUT /system/services']);
    expect(outputs.join('')).not.toContain('hush-hush');
  });

  it('becomes a change when somebody else creates the service meanwhile', async () => {
    let refused = false;
    const server = await serve(({ method, url }, response) => {
      if (method === 'POST') {
        refused = true;
        text(response, 'A service with the provided name already exists', 400);
      } else if (method === 'GET' && refused && url.endsWith('/one')) json(response, { name: 'one' });
      else return false;
      return true;
    });
    fdl('name: one');
    expect((await cli(server, 'apply', 'fdl.yaml')).code).toBe(0);
    expect(server.calls()).toEqual([
      'GET /system/services/one',
      'POST /system/services',
      'GET /system/services/one',
      'PUT /system/services',
    ]);
  });

  it('does not create a second time when the connection broke: it may have been done', async () => {
    const server = await serve(({ method }, response) => {
      if (method === 'POST') response.destroy();
      return method === 'POST';
    });
    fdl('name: one');
    expect((await cli(server, 'apply', 'fdl.yaml')).code).toBe(5);
    expect(writes(server)).toEqual(['POST /system/services']);
  });

  it('goes on after one service is refused, and says so', async () => {
    const server = await serve(({ method, body }, response) => {
      if (method !== 'POST' || !body.includes('"one"')) return false;
      text(response, 'The service specification is not valid: memory', 400);
      return true;
    });
    fdl('name: one', 'name: two');
    const ended = await cli(server, 'apply', 'fdl.yaml');
    expect(ended).toMatchObject({ code: 1, stdout: '+ two (new)\n' });
    expect(ended.stderr).toContain('! one  The service specification is not valid: memory');
  });

  it('sends nothing when a file is not valid, and names every fault of every file', async () => {
    const server = await serve();
    fdl('name: one, memory: [1]', 'name: two, nmae: x');
    const ended = await cli(server, 'apply', 'fdl.yaml', 'missing.yaml');
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toBe(
      'fdl.yaml:3:61: functions.oscar[0].local.memory: must be text, but is a list; put it in quotes if it is text\n' +
        'missing.yaml:1:1: does not exist\n',
    );
    expect(server.calls()).toEqual([]);
  });

  it('takes the services of one cluster, from standard input too', async () => {
    const server = await serve();
    const file =
      'functions: {oscar: [a: {name: x, image: i, script: script.sh}, b: {name: x, image: j, script: script.sh}]}';
    const stdin = { cwd: folder.path, stdin: file };
    expect((await sluice(['apply', '-', '--url', server.url], stdin)).stderr).toContain(
      'choose one with --cluster',
    );
    expect((await sluice(['apply', '-', '--cluster', 'c', '--url', server.url], stdin)).stderr).toContain(
      'Its clusters are: a, b',
    );
    expect((await sluice(['apply', '-', '--cluster', 'b', '--url', server.url], stdin)).stdout).toBe(
      '+ x (new)\n',
    );
    expect(server.seen.at(-1)?.body.toString()).toContain('"cluster_id":"b"');
  });
});
