import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  lstatSync,
} from 'node:fs';
import { createServer } from 'node:https';
import { once } from 'node:events';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { json, sluice, startServer, temporary, text, type FakeServer, type RunOptions } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeServer[] = [];
beforeEach(() => {
  folder = temporary();
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

const file = (): string => path.join(folder.path, 'sluice/config.yaml');
const cli = (args: readonly string[], options: RunOptions = {}) =>
  sluice(args, {
    cwd: folder.path,
    ...options,
    env: { XDG_CONFIG_HOME: folder.path, SLUICE_DATA: '', ...options.env },
  });
const basic = (password: string): string => `Basic ${Buffer.from(`oscar:${password}`).toString('base64')}`;

/** A server that one password opens, and that keeps services. */
async function serve(password: string): Promise<FakeServer> {
  const server = await startServer(({ method, url, headers }, response) => {
    if (headers.authorization !== basic(password)) text(response, '', 401);
    else if (url === '/system/info') json(response, { version: '1.2.3' });
    else if (url === '/system/services' && method === 'GET') json(response, []);
    else if (method === 'POST') response.writeHead(201).end();
    else text(response, '', 404);
  });
  servers.push(server);
  return server;
}

const login = (server: FakeServer, name: string, password: string) =>
  cli(['login', server.url, '--name', name, '--password-stdin'], { stdin: `${password}\nmore` });

describe('login', () => {
  it('keeps what the server accepted, for its owner only, and it is used from then on', async () => {
    const server = await serve('s3cret: #1');
    const done = await login(server, 'prod', 's3cret: #1');
    expect(done).toMatchObject({ code: 0, stdout: '' });
    expect(done.stderr).toBe(`Logged in to ${server.url} (version 1.2.3) as oscar; the profile is prod.\n`);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file())).mode & 0o777).toBe(0o700);
    expect(parse(readFileSync(file(), 'utf8'))).toEqual({
      current: 'prod',
      profiles: { prod: { url: server.url, username: 'oscar', password: 's3cret: #1' } },
    });
    expect(await cli(['service', 'list', '--json'])).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' });
  });

  it('keeps nothing that the server refused, or that could not be asked for', async () => {
    const server = await serve('right');
    const refused = await login(server, 'prod', 'wrong');
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).not.toContain('wrong');
    expect(refused.stderr).toContain('Check user name and password.');
    expect((await cli(['login', server.url])).stderr).toContain('--password-stdin');
    expect((await cli(['login', server.url, '--password-stdin'])).stderr).toContain('The password is empty');
    expect((await login(server, 'a b', 'right')).stderr).toContain('--name must be');
    expect(existsSync(file())).toBe(false);
  });

  it('is named after the host, and does not replace another server by chance', async () => {
    const [one, two] = [await serve('x'), await serve('x')];
    const args = ['--password-stdin'];
    expect((await cli(['login', one.url, ...args], { stdin: 'x' })).stderr).toContain(
      'the profile is 127.0.0.1',
    );
    const clash = await cli(['login', two.url, ...args], { stdin: 'x' });
    expect(clash.code).toBe(2);
    expect(clash.stderr).toContain('Give --name');
    expect((await cli(['login', one.url, ...args], { stdin: 'x' })).code).toBe(0);
  });

  it('keeps other profiles, and a link to the file', async () => {
    const server = await serve('x');
    const elsewhere = path.join(folder.path, 'dotfiles.yaml');
    writeFileSync(elsewhere, 'profiles: {old: {url: "http://old"}}\n', { mode: 0o600 });
    mkdirSync(path.dirname(file()));
    symlinkSync(elsewhere, file());
    await login(server, 'new', 'x');
    expect(lstatSync(file()).isSymbolicLink()).toBe(true);
    expect(Object.keys((parse(readFileSync(elsewhere, 'utf8')) as { profiles: object }).profiles)).toEqual([
      'old',
      'new',
    ]);
  });

  it('trusts the certificate authority of the profile, and no other server by it', async () => {
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(folder.path, name)) as [
      string,
      string,
    ];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    );
    const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
      json(response, { version: '1' });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
    const env = { SLUICE_PASSWORD: 'x' };
    try {
      const untrusted = await cli(['login', url, '--password-stdin'], { stdin: 'x' });
      expect(untrusted).toMatchObject({ code: 5 });
      expect(untrusted.stderr).toContain('--ca-file');
      const trusted = await cli(
        ['login', url, '--password-stdin', '--name', 'tls', '--ca-file', 'cert.pem'],
        { stdin: 'x' },
      );
      expect(trusted).toMatchObject({ code: 0 });
      expect((await cli(['status', '--json'])).stdout).toContain('"version":"1"');
      expect((await cli(['status', '--json', '--url', url], { env })).code).toBe(5);
      writeFileSync(cert, 'no certificate');
      expect(await cli(['status'])).toMatchObject({ code: 2 });
    } finally {
      server.close();
    }
  });
});

describe('the server', () => {
  it('is the first that was said: --url, --profile, SLUICE_PROFILE, SLUICE_URL, the current profile', async () => {
    const [one, two, three] = [await serve('1'), await serve('2'), await serve('3')];
    await login(one, 'one', '1');
    await login(two, 'two', '2');
    const reached = async (args: string[], env: Record<string, string>): Promise<FakeServer | undefined> => {
      const before = [one, two, three].map(({ seen }) => seen.length);
      await cli(['service', 'list', ...args], { env });
      return [one, two, three].find(({ seen }, index) => seen.length > (before[index] ?? 0));
    };
    const url = { SLUICE_URL: three.url };
    const named = { SLUICE_PROFILE: 'one' };
    expect(await reached([], {})).toBe(two);
    expect(await reached([], url)).toBe(three);
    expect(await reached([], { ...url, ...named })).toBe(one);
    expect(await reached(['--profile', 'two'], { ...url, ...named })).toBe(two);
    expect(await reached(['--url', three.url], named)).toBe(three);
    // A profile's password goes to its own server only.
    expect(three.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    expect((await cli(['status', '--url', one.url, '--profile', 'one'])).code).toBe(2);
    expect((await cli(['status', '--profile', 'none'])).stderr).toContain('There are: one, two');
  });
});

describe('profile', () => {
  it('list, use, show, logout: without secrets', async () => {
    const server = await serve('hush-hush');
    await login(server, 'one', 'hush-hush');
    await login(server, 'two', 'hush-hush');
    const listed = await cli(['profile', 'list']);
    expect(listed.stdout.split('\n')[2]).toBe(`*  two      ${server.url}  oscar`);
    expect(await cli(['profile', 'use', 'one'])).toMatchObject({
      code: 0,
      stderr: 'The current profile is one.\n',
    });
    const shown = await cli(['profile', 'show', '--json']);
    expect(JSON.parse(shown.stdout)).toEqual({
      profile: 'one',
      current: true,
      url: server.url,
      username: 'oscar',
      has_password: true,
    });
    const all = [
      listed,
      shown,
      await cli(['profile', 'list', '--json']),
      await cli(['profile', 'show', 'two']),
    ];
    expect(all.map(({ stdout, stderr }) => stdout + stderr).join('')).not.toContain('hush-hush');
    expect(await cli(['logout'])).toMatchObject({ code: 0, stderr: 'Forgot the profile one.\n' });
    expect(readFileSync(file(), 'utf8').match(/hush-hush/g)).toHaveLength(1);
    expect((await cli(['logout'])).code).toBe(3);
    expect((await cli(['profile', 'use', 'one'])).code).toBe(3);
    expect((await cli(['logout', 'two'])).code).toBe(0);
    expect(readFileSync(file(), 'utf8')).not.toContain('hush-hush');
  });

  it('warns of a file that others may read', async () => {
    const server = await serve('x');
    await login(server, 'one', 'x');
    chmodSync(file(), 0o640);
    const { code, stderr } = await cli(['service', 'list', '--json']);
    expect(code).toBe(0);
    expect(stderr).toContain(`chmod 600 ${file()}`);
  });

  it.each([
    ['{', 'is damaged'],
    ['[]', 'the file is not a map'],
    ['profiles: {x: {}}', 'profiles.x.url is missing'],
    ['profiles: {x: {url: 1}}', 'profiles.x.url is not text'],
    ['profiles: {"a b": {url: "http://x"}}', 'the name "a b" has to be'],
    ['current: gone', 'There is no profile "gone"'],
  ])('names what is wrong with a file %j', async (content, said) => {
    mkdirSync(path.dirname(file()));
    writeFileSync(file(), content);
    const done = await cli(['status']);
    expect(done.code).toBeGreaterThan(0);
    expect(done.stderr).toContain(said);
    expect((await cli(['schema'])).code).toBe(0);
  });
});

describe('apply', () => {
  it('sends each service to the server of the profile that its cluster names', async () => {
    const [one, two, other] = [await serve('1'), await serve('2'), await serve('3')];
    await login(one, 'one', '1');
    await login(two, 'two', '2');
    await login(other, 'other', '3');
    writeFileSync(path.join(folder.path, 's.sh'), 'true\n');
    const service = (cluster: string, name: string): string =>
      `  - ${cluster}: {name: ${name}, image: i, script: s.sh}\n`;
    const fdl = `functions:\n  oscar:\n${service('one', 'same')}${service('two', 'same')}${service('local', 'third')}`;
    writeFileSync(path.join(folder.path, 'fdl.yaml'), fdl);
    const posts = (server: FakeServer): string[] =>
      server.seen
        .filter(({ method }) => method === 'POST')
        .map(({ body }) => (JSON.parse(body.toString()) as { name: string }).name);
    const planned = await cli(['plan', 'fdl.yaml']);
    expect(planned.stdout).toBe('+ same  (new)\n+ same  (new)\n+ third (new)\n');
    expect(planned.stderr).toBe(`server: one, ${one.url}\nserver: two, ${two.url}\nserver: ${other.url}\n`);
    const applied = await cli(['apply', 'fdl.yaml', '--json']);
    expect(JSON.parse(applied.stdout)).toMatchObject({
      services: [
        { service: 'same', profile: 'one' },
        { service: 'same', profile: 'two' },
        { service: 'third' },
      ],
    });
    expect([posts(one), posts(two), posts(other)]).toEqual([['same'], ['same'], ['third']]);
    expect((await cli(['apply', 'fdl.yaml', '--cluster', 'two'])).stdout).toBe('+ same (new)\n');
    expect(posts(two)).toEqual(['same', 'same']);
    // --url and --profile are for all; then two services of one name meet.
    expect((await cli(['apply', 'fdl.yaml', '--profile', 'other'])).stderr).toContain(
      'choose one with --cluster',
    );
    expect((await cli(['apply', 'fdl.yaml', '--profile', 'other', '--cluster', 'one'])).code).toBe(0);
    expect(posts(other)).toEqual(['third', 'same']);
  });
});
