import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { clientVersion } from '../../src/version.ts';
import { json, sluice, startServer, temporary, text, type Answer, type FakeServer } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

/** Everything well, but for what `over` answers. */
async function serve(over: Record<string, Answer> = {}): Promise<FakeServer> {
  const server = await startServer((request, response) => {
    const other = over[request.url];
    if (other !== undefined) return other(request, response);
    if (request.url === '/health') text(response, 'Ok');
    else if (request.url === '/system/info') json(response, { version: clientVersion() });
    else if (request.url === '/system/services') json(response, []);
    else if (request.url === '/system/config') json(response, { minio_provider: { endpoint: '' } });
    else json(response, { adapters: { executor: { adapter: 'processes' } }, dead_letters: 0 });
    return undefined;
  });
  servers.push(server);
  return server;
}

interface Found {
  readonly check: string;
  readonly status: string;
  readonly detail: string;
  readonly mend?: string;
}

async function doctor(
  url: string,
  env: Record<string, string> = {},
): Promise<{ code: number | null; stderr: string; bad: Found[] }> {
  const environment = { XDG_CONFIG_HOME: folder.path, SLUICE_PASSWORD: 'hush-hush', ...env };
  const { code, stdout, stderr } = await sluice(['doctor', '--json', ...(url === '' ? [] : ['--url', url])], {
    env: environment,
  });
  expect(stdout + stderr).not.toContain('hush-hush');
  const { checks } = JSON.parse(stdout) as { checks: Found[] };
  for (const { status, mend } of checks) expect(mend === undefined).toBe(status === 'ok');
  return { code, stderr, bad: checks.filter(({ status }) => status !== 'ok') };
}

it('finds nothing where all is well, and says so in a table', async () => {
  const server = await serve();
  expect(await doctor(server.url)).toEqual({ code: 0, stderr: '', bad: [] });
  const table = await sluice(['doctor', '--url', server.url], { env: { XDG_CONFIG_HOME: folder.path } });
  expect(table).toMatchObject({ code: 0, stderr: '' });
  expect(table.stdout).toContain(`ok  server         ${server.url} (--url)`);
});

it('warns of what may not work', async () => {
  const endpoint = await serve();
  await endpoint.close();
  servers.pop();
  const server = await serve({
    '/health': (_, response) => {
      text(response, 'Ok', 200, { date: 'Fri, 02 Jan 2026 03:04:05 GMT' });
    },
    '/system/info': (_, response) => {
      json(response, { version: '99' });
    },
    '/system/services': (_, response) => {
      json(response, [{ name: 'thumbnail', image: 'i' }]);
    },
    '/system/config': (_, response) => {
      json(response, { minio_provider: { endpoint: endpoint.url.replace('//', '//key:hush-hush@') } });
    },
    '/system/overview': (_, response) => {
      json(response, { adapters: { executor: { adapter: 'processes' } }, dead_letters: 3 });
    },
  });
  mkdirSync(path.join(folder.path, 'sluice'));
  writeFileSync(
    path.join(folder.path, 'sluice/config.yaml'),
    'profiles: {a: {url: "http://a", password: p}}',
    { mode: 0o644 },
  );
  const { code, bad, stderr } = await doctor(server.url);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(bad.map(({ check, status }) => `${status} ${check}`)).toEqual([
    'warn configuration',
    'warn clock',
    'warn version',
    'warn dead letters',
    'warn services',
    'warn S3 server',
  ]);
  expect(bad.map(({ mend }) => mend).join('\n')).toContain('chmod 600');
});

const process = (component: string, instance: string, checks: object[]): object => ({
  component,
  instance,
  version: '1',
  started_at: '2026-01-02T03:04:05.678Z',
  heard_at: '2026-01-02T03:04:05.678Z',
  checks,
});
const fine = { name: 'NATS', ok: true, severity: 'warning', message: 'well' };
const full = { name: 'NATS storage', ok: false, severity: 'warning', message: '90 % full', mend: 'more' };
const gone = { name: 'Redis\u001b[2J', ok: false, severity: 'error', message: 'gone', mend: 'start it' };

it('tells what the processes of the server find, each component once', async () => {
  const server = await serve({
    '/system/checks': (_, response) => {
      json(response, {
        ok: false,
        checks: [{ name: 'scheduler', ok: true, severity: 'warning', message: 'One process.' }],
        processes: [
          process('api', 'a', [fine, full]),
          process('api', 'b', [fine]),
          process('scheduler', 'c', [fine, gone]),
        ],
      });
    },
  });
  const { code, bad } = await doctor(server.url);
  expect(code).toBe(1);
  expect(bad).toMatchObject([
    { component: 'api', status: 'warn', detail: '90 % full (1 of 2 processes)', mend: 'more' },
    { component: 'scheduler', status: 'fail', detail: 'gone', mend: 'start it' },
  ]);
  const table = await sluice(['doctor', '--url', server.url], { env: { XDG_CONFIG_HOME: folder.path } });
  const lines = table.stdout.split('\n').map((line) => line.trim());
  const from = lines.indexOf('installation');
  expect(lines.slice(from).map((line) => line.replace(/ {2,}/g, '  '))).toEqual([
    'installation',
    'ok  scheduler  One process.',
    'api',
    'ok  NATS  well',
    'warn  NATS storage  90 % full (1 of 2 processes)',
    '→ more',
    'scheduler',
    'ok  NATS  well',
    'FAIL  Redis\\u001b[2J  gone',
    '→ start it',
    '',
  ]);
});

it('asks nothing more of a server that does not tell of its processes', async () => {
  const server = await serve({
    '/system/checks': (_, response) => {
      text(response, '404 page not found', 404);
    },
  });
  expect(await doctor(server.url)).toMatchObject({ code: 0, bad: [] });
});

it.each([
  ['a wrong password', { '/system/info': 401 }, 'login'],
  ['a server without an overview', { '/system/overview': 404 }, 'overview'],
  ['a server whose checks fail', { '/system/checks': 400 }, 'components'],
])('fails for %s', async (_, statuses, check) => {
  const over = Object.entries(statuses).map(([url, status]): [string, Answer] => [
    url,
    (_, response) => text(response, 'no', status),
  ]);
  const server = await serve(Object.fromEntries(over));
  const { code, bad } = await doctor(server.url);
  expect(code).toBe(1);
  expect(bad).toMatchObject([{ check, status: 'fail' }]);
});

it('fails where no server can be chosen, named or reached, and goes no further', async () => {
  expect(await doctor('ftp://x')).toMatchObject({ code: 1, bad: [{ check: 'server', status: 'fail' }] });
  expect(await doctor('http://no-such-host.invalid')).toMatchObject({ code: 1, bad: [{ check: 'name' }] });
  expect(await doctor('http://127.0.0.1:1')).toMatchObject({ code: 1, bad: [{ check: 'connection' }] });
  mkdirSync(path.join(folder.path, 'sluice'));
  writeFileSync(path.join(folder.path, 'sluice/config.yaml'), '{');
  const damaged = await doctor('');
  expect(damaged.bad.map(({ check }) => check)).toEqual(['configuration', 'server']);
});
