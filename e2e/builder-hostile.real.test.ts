import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  extending,
  openBuildRegistry,
  pushBase,
  registryLogin,
  type OwnRegistry,
} from './support/builder-servers.ts';
import { openBuilderWorld, requirements, type Builder, type BuilderWorld } from './support/builder-world.ts';
import { openGate, type Gate } from './support/gate.ts';

/* Requests that must not be taken as they are, files that do harm, and more of both than there is room for. */

const secret = `${registryLogin.username}:${registryLogin.password}`;
/** What becomes part of references, arguments and files where nobody looks (builder §5.1). */
const hosts = [
  'evil.test;id',
  'evil.test,name=docker.io/x/y',
  '$(id).test',
  '"evil.test"',
  'evil.test\nRUN id',
  '../evil',
  'Ünicode.test',
  'evil.test/path',
  'http://evil.test',
  'a'.repeat(300),
];
const secrets = ['no-colon', ':password', 'name:'];
/** Of the accounts beside the usual ones, in this order. */
const environments = (own: string): readonly Readonly<Record<string, string>>[] => [
  ...hosts.map((host) => ({ REGISTRY_HOST: host })),
  ...secrets.map((one) => ({ REGISTRY_HOST: own, REGISTRY_SECRET: one })),
  { REGISTRY_HOST: own, REGISTRY_SECRET: secret },
  { REGISTRY_HOST: own, REGISTRY_SECRET: 'anna:wrong-password-of-anna' },
];

let registry: OwnRegistry;
let locked: OwnRegistry;
let gate: Gate;
let world: BuilderWorld;
let base: string;
let lockedBase: string;
const logLimit = 200_000;
beforeAll(async () => {
  [registry, locked, gate] = await Promise.all([openBuildRegistry(), openBuildRegistry('login'), openGate()]);
  [base, lockedBase] = await Promise.all([pushBase(registry.host), pushBase(locked.host, registryLogin)]);
  const env = {
    REGISTRY_HOST: registry.host,
    // Base images may come from there, though it is of this machine.
    SLUICE_REGISTRY_INSECURE: locked.host,
    SLUICE_BUILD_CACHE: 'false',
    SLUICE_BUILD_CONCURRENCY: '4',
    SLUICE_BUILD_USER_CONCURRENCY: '4',
    SLUICE_BUILD_TIMEOUT: '12',
    SLUICE_BUILD_LOG_LIMIT: String(logLimit),
  };
  world = await openBuilderWorld(env, environments(locked.host));
}, 120_000);
afterAll(async () => {
  await world?.close();
  await Promise.all([registry, locked, gate].map(async (server) => server?.close()));
});

const asked = (user: Builder, tag: string, shell: string): Record<string, unknown> => ({
  source: base,
  kind: 'python',
  target: `${user.login}:${tag}`,
  file: requirements(extending(shell)),
});

const other = (at: number): Builder => {
  const user = world.others[at];
  if (user === undefined) throw new Error(`there is no account ${at}`);
  return user;
};

async function repositories(): Promise<readonly string[]> {
  const answer = await fetch(`http://${registry.host}/v2/_catalog`);
  return ((await answer.json()) as { repositories: string[] }).repositories;
}

async function nothingWasMade(user: Builder): Promise<void> {
  expect(await world.buildFolders()).toEqual([]);
  const { builds } = (await (await user.request('/system/builds')).json()) as { builds: unknown[] };
  expect(builds).toEqual([]);
  expect(await repositories()).toEqual(['library/base']);
}

describe('a request that is wrong', () => {
  const parts = (login: string): readonly (readonly [number, Record<string, unknown>, RegExp])[] => [
    ...[
      ';id',
      '$(id)',
      ',name=docker.io/x/y',
      '"',
      "'",
      '\nRUN id',
      ' x',
      '/../x',
      'ü',
      'x'.repeat(300),
    ].flatMap((bad) => [
      [400, { target: `${login}:tag${bad}` }, /target/] as const,
      [400, { source: `${base}${bad}` }, /source|name of an image/] as const,
    ]),
    ...['', ':', `${login.toUpperCase()}:x`, `${login}/x:y`, '../x:y', 'library:base', `x${login}:y`].map(
      (target) => [400, { target }, /target/] as const,
    ),
    ...[`${login}:`, `${login}:.x`, `${login}:-x`, `${login}:sluice-python-${'0'.repeat(20)}`].map(
      (target) => [400, { target }, /target|tag/] as const,
    ),
    ...[
      '',
      'UPPER/case:1',
      `${registry.host}/Library/base:1`,
      `${registry.host}/library/../x`,
      'http://x/y',
      '--flag',
      'x@sha256:1',
    ].map((source) => [400, { source }, /source|name of an image/] as const),
    [403, { source: `${registry.host}/somebody:x` }, /belongs to another user/],
    [404, { source: `${registry.host}/library/none:1` }, /library\/none/],
    [403, { source: lockedBase }, /login/],
    [403, { source: '127.0.0.1:1/x/y' }, /inner network/],
    [403, { source: '[::ffff:a00:1]:80/x/y' }, /inner network/],
    [400, { kind: 'cobol' }, /kind/],
    [400, { kind: 'python\nRUN id' }, /kind/],
    [400, { file: null }, /base64/],
    [400, { file: 'no base64!' }, /base64/],
    [400, { file: Buffer.from([0xff, 0xfe, 0x00]).toString('base64') }, /UTF-8/],
    [413, { file: 'A'.repeat(10_000_004) }, /too large/],
    [413, { file: Buffer.alloc(5_000_001, '#').toString('base64') }, /too large/],
    [422, { file: requirements('-r /etc/passwd\n') }, /line 1/],
    [400, { platforms: ['linux/amd64,name=x'] }, /platforms/],
    [422, { platforms: ['linux/s390x'] }, /s390x/],
  ];

  test('is refused with a sentence that says what, and leaves nothing', async () => {
    const { anna } = world;
    const good = asked(anna, 'x', 'true');
    for (const [status, change, says] of parts(anna.login)) {
      const answer = await anna.start({ ...good, ...change });
      const what = JSON.stringify(change).slice(0, 120);
      expect(answer.status, `${what} ${answer.body.message}`).toBe(status);
      expect(answer.body.status, what).toBe('ko');
      expect(answer.body.message, what).toMatch(says);
      expect(answer.body.message.length, what).toBeLessThan(600);
    }
    await nothingWasMade(anna);
  });

  test('names the variable of an account that cannot be used', async () => {
    for (const at of [...hosts, ...secrets].keys()) {
      const user = other(at);
      const { status, body } = await user.start(asked(user, 'x', 'true'));
      const what = `${JSON.stringify(environments('own')[at])} ${body.message}`;
      expect(status, what).toBe(400);
      expect(body.message, what).toMatch(at < hosts.length ? /REGISTRY_HOST/ : /REGISTRY_SECRET/);
      await nothingWasMade(user);
    }
  });
});

describe('a registry of the account’s own', () => {
  const first = hosts.length + secrets.length;

  test('takes the image with the account’s login, which is told to nobody', async () => {
    const user = other(first);
    const shell = 'cat /proc/self/environ; find / -xdev -name config.json 2>/dev/null || true';
    const id = await user.started({ ...asked(user, 'own', shell), source: lockedBase });
    const seen = await user.ended(id);
    expect(seen, await user.log(id)).toMatchObject({
      state: 'succeeded',
      image: `${locked.host}/${user.login}:own`,
    });
    expect(await world.buildFolders()).toEqual([]);
    const said = `${JSON.stringify(seen)}${await user.log(id)}${world.server().stderr()}${world.server().stdout()}`;
    for (const form of [registryLogin.password, Buffer.from(secret).toString('base64')])
      expect(said).not.toContain(form);
  });

  test('that refuses the login says so', async () => {
    const user = other(first + 1);
    const refused = await user.start({ ...asked(user, 'own', 'true'), source: lockedBase });
    expect(refused.status).toBe(403);
    expect(refused.body.message).toContain(locked.host);
    expect(refused.body.message).not.toContain('wrong-password');
  });
});

describe('a file that does harm', () => {
  test('never ends, fails, or prints without end', async () => {
    const { anna } = world;
    const ids = await Promise.all(
      [
        asked(anna, 'endless', gate.wait('endless')),
        asked(anna, 'fails', 'echo this cannot be; exit 3'),
        asked(anna, 'loud', 'yes "a line that is said again and again" | head -c 1000000000'),
        { ...asked(anna, 'empty', ''), file: '' },
      ].map(async (request) => anna.started(request)),
    );
    const [endless, fails, loud, empty] = await Promise.all(ids.map(async (id) => anna.ended(id, 60_000)));
    expect(endless).toMatchObject({
      state: 'failed',
      code: 'timed_out',
      message: expect.stringMatching(/12 s/),
    });
    expect(fails).toMatchObject({
      state: 'failed',
      code: 'requirements_failed',
      message: expect.stringMatching(/exit code 3.*this cannot be/s),
    });
    // BuildKit shows a part of it and goes on; slower machines come to the end of the time first.
    expect(['succeeded', 'timed_out']).toContain(loud?.code ?? loud?.state);
    expect((await anna.log(loud?.id ?? '')).length).toBeLessThan(10 * logLimit);
    expect(empty).toMatchObject({ state: 'succeeded' });
    expect(await world.buildFolders()).toEqual([]);
    expect((await anna.request('/system/images/endless')).status).toBe(404);
    expect((await anna.request('/system/images/fails')).status).toBe(404);
  }, 120_000);
});
