import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  createRegistryClient,
  type RegistryClient,
  type RegistryClientDeps,
  type RegistryLogin,
} from '../../src/adapters/index.ts';
import { fakeClock, type FakeClock } from '../../src/testing/index.ts';
import {
  digestOf,
  manifest,
  openFakeRegistry,
  send,
  sendImage,
  type Answer,
  type FakeRegistry,
} from './registry-fake.ts';

let registry: FakeRegistry;
let other: FakeRegistry;
let clock: FakeClock;
let login: RegistryLogin | undefined;
let clients: RegistryClient[];

beforeEach(async () => {
  [registry, other] = [await openFakeRegistry(), await openFakeRegistry()];
  [clock, login, clients] = [fakeClock(), undefined, []];
});
afterEach(async () => {
  for (const client of clients) await client.close();
  await Promise.all([registry.close(), other.close()]);
});

function open(more: Partial<RegistryClientDeps> = {}): RegistryClient {
  const platform = { os: 'linux', architecture: 'amd64' };
  const client = createRegistryClient({ logins: () => Promise.resolve(login), platform, clock, ...more });
  clients.push(client);
  return client;
}

/** The address a request's Authorization must have, or it is refused with this challenge. */
const guarded =
  (challenge: string, expected: () => string, next: Answer): Answer =>
  (request, response) => {
    if (request.headers.authorization === expected()) return next(request, response);
    send(response, 401, '', { 'www-authenticate': challenge });
  };
const facts = { digest: digestOf(manifest), user: 'app', platforms: ['linux/amd64'] };
const failure = (client: RegistryClient, image = 'team/app:1'): Promise<unknown> =>
  client.imageFacts(`${registry.host}/${image}`).then(
    () => undefined,
    (error: unknown) => error,
  );

test('a token for nobody is asked for once and kept for its time', async () => {
  let count = 0;
  registry.answer = guarded(
    `Bearer realm="http://${other.host}/token",service="reg",scope="repository:team/app:pull"`,
    () => `Bearer t${count}`,
    sendImage,
  );
  other.answer = (_request, response) => {
    count += 1;
    send(response, 200, { token: `t${count}`, expires_in: 300 });
  };
  const client = open();
  expect(await client.imageFacts(`${registry.host}/team/app:1`)).toEqual(facts);
  expect(other.asked).toEqual([
    { method: 'GET', url: '/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull' },
  ]);
  await client.imageFacts(`${registry.host}/team/app:1`);
  expect(count).toBe(1);
  // Of another repository it is good for nothing.
  await client.imageFacts(`${registry.host}/team/other`);
  expect(count).toBe(2);
  clock.advance(291_000);
  await client.imageFacts(`${registry.host}/team/other`);
  expect(count).toBe(3);
});

test('a login goes to the token service, not to the registry', async () => {
  login = { username: 'ada', password: 'pass:word', serveraddress: registry.host };
  registry.answer = guarded(`Bearer realm="http://${other.host}/token?x=1"`, () => 'Bearer mine', sendImage);
  const basic = `Basic ${Buffer.from('ada:pass:word').toString('base64')}`;
  other.answer = guarded(
    'Basic',
    () => basic,
    (_request, response) => send(response, 200, { access_token: 'mine' }),
  );
  expect(await open().imageFacts(`${registry.host}/team/app`)).toEqual(facts);
  expect(registry.asked.map((one) => one.authorization)).not.toContain(basic);
  expect(other.asked[0]?.url).toBe('/token?x=1&scope=repository%3Ateam%2Fapp%3Apull');
});

test('an identity token is exchanged', async () => {
  login = { identitytoken: 'refresh me', serveraddress: registry.host };
  registry.answer = guarded(
    `Bearer realm="http://${other.host}/token",service="s"`,
    () => 'Bearer new',
    sendImage,
  );
  let form = '';
  other.answer = (request, response) => {
    request.on('data', (chunk: Buffer) => (form += chunk.toString()));
    request.on('end', () => send(response, 200, { access_token: 'new' }));
  };
  expect(await open().imageFacts(`${registry.host}/team/app`)).toEqual(facts);
  expect(other.asked[0]?.method).toBe('POST');
  expect(Object.fromEntries(new URLSearchParams(form))).toEqual({
    grant_type: 'refresh_token',
    client_id: 'sluice',
    refresh_token: 'refresh me',
    service: 's',
    scope: 'repository:team/app:pull',
  });
});

test('name and password, where the registry wants them', async () => {
  registry.answer = guarded(
    'Basic realm="x"',
    () => `Basic ${Buffer.from('a:b').toString('base64')}`,
    sendImage,
  );
  expect(await failure(open())).toMatchObject({ code: 'forbidden' });
  login = { username: 'a', password: 'b', serveraddress: registry.host };
  expect(await open().imageFacts(`${registry.host}/team/app`)).toEqual(facts);
  login = { username: 'a', password: 'wrong', serveraddress: registry.host };
  const refused = await failure(open());
  expect(refused).toMatchObject({ code: 'forbidden', retry: 'never' });
  expect(JSON.stringify(refused) + String(refused)).not.toContain('wrong');
});

test('a blob store gets no token', async () => {
  registry.answer = guarded(
    `Bearer realm="http://${other.host}/token"`,
    () => 'Bearer t',
    (request, response) => {
      if (!request.url?.includes('/blobs/')) return sendImage(request, response);
      send(response, 307, '', { location: `http://${other.host}/store${request.url}?signature=s` });
    },
  );
  other.answer = (request, response) => {
    if (request.url?.startsWith('/token')) return send(response, 200, { token: 't' });
    sendImage({ url: request.url?.split('?')[0] } as typeof request, response);
  };
  expect(await open().imageFacts(`${registry.host}/team/app`)).toEqual(facts);
  const stored = other.asked.filter((one) => one.url.startsWith('/store'));
  expect(stored.length).toBe(1);
  expect(stored[0]).not.toHaveProperty('authorization');
});

test.each([
  ['in circles', () => `http://${registry.host}/v2/again`, /redirects in circles/],
  ['without TLS to the outside', () => 'http://images.example/x', /without TLS/],
  ["to a cloud's own address", () => 'https://169.254.169.254/latest', /private network/],
  ['to nowhere', () => 'http://[', /is none/],
])('a redirect %s is not followed', async (_name, to, expected) => {
  registry.answer = (_request, response) => send(response, 302, '', { location: to() });
  expect(await failure(open())).toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(expected),
  });
  expect(registry.asked.length).toBeLessThan(6);
});

test.each([
  [403, {}, { code: 'forbidden', retry: 'never' }],
  [404, {}, { code: 'not_found', retry: 'never' }],
  [429, { 'retry-after': '17' }, { code: 'limit_reached', retry: 'later', retryAfterSeconds: 17 }],
  [500, {}, { code: 'unavailable', retry: 'later' }],
  [400, {}, { code: 'unsupported', retry: 'never' }],
])('status %d', async (status, headers, expected) => {
  registry.answer = (_request, response) => send(response, status, 'secret of a stranger', headers);
  const found = await failure(open());
  expect(found).toMatchObject(expected);
  expect(String(found)).not.toContain('stranger');
});

test('a registry that deletes nothing', async () => {
  registry.answer = (_request, response) => send(response, 405);
  const image = `${registry.host}/team/app@${digestOf('x')}`;
  await expect(open().deleteManifest(image)).rejects.toMatchObject({ code: 'unsupported' });
});

test('a tag is put with the same bytes, and a token for pushing', async () => {
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const repository = `${registry.host}/team/app`;
  let put: { body: string; type: string | undefined } | undefined;
  let status = 201;
  registry.answer = guarded(
    `Bearer realm="http://${other.host}/token",service="s"`,
    () => `Bearer ${registry.asked.at(-1)?.method}`,
    (request, response) => {
      if (request.method !== 'PUT') return send(response, 200, manifest, { 'content-type': type });
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        put = { body, type: request.headers['content-type'] };
        send(response, status);
      });
    },
  );
  other.answer = (request, response) =>
    send(response, 200, { token: request.url?.includes('push') ? 'PUT' : 'GET' });
  const client = open();
  await client.putTag(repository, digestOf(manifest), 'two');
  expect(put).toEqual({ body: manifest, type });
  expect(other.asked.map((one) => one.url)).toEqual([
    '/token?service=s&scope=repository%3Ateam%2Fapp%3Apull',
    '/token?service=s&scope=repository%3Ateam%2Fapp%3Apull%2Cpush',
  ]);
  status = 405;
  await expect(client.putTag(repository, digestOf(manifest), 'two')).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('read-only'),
  });
  status = 403;
  await expect(client.putTag(repository, digestOf(manifest), 'two')).rejects.toMatchObject({
    code: 'forbidden',
  });
});

test('details of what is no image, of too much, and of nothing', async () => {
  const name = `${registry.host}/team/app:1`;
  registry.answer = sendImage;
  // Without sizes it cannot be counted.
  await expect(open().imageDetails(name)).rejects.toMatchObject({ code: 'unprocessable' });
  registry.answer = (_request, response) => send(response, 404);
  expect(await open().imageDetails(name)).toBeUndefined();
  const child = { digest: digestOf('x'), size: 1 };
  const index = (count: number): string =>
    JSON.stringify({ manifests: Array.from({ length: count }, () => child) });
  registry.answer = (_request, response) => send(response, 200, index(65));
  await expect(open().imageDetails(name)).rejects.toMatchObject({ code: 'unprocessable' });
  // None of its images is there.
  registry.answer = (request, response) =>
    request.url?.includes('sha256') ? send(response, 404) : send(response, 200, index(2));
  const body = index(2);
  expect(await open().imageDetails(name)).toEqual({
    digest: digestOf(body),
    size: 0,
    parts: [{ digest: digestOf(body), size: body.length }],
    createdAt: undefined,
    labels: {},
  });
});

test('bytes that are not those of the digest are refused', async () => {
  registry.answer = (request, response) =>
    send(response, 200, request.url?.includes('/blobs/') ? '{"os":"x"}' : manifest);
  expect(await failure(open())).toMatchObject({ message: expect.stringContaining('other bytes') });
  expect(await failure(open(), `team/app@${digestOf('other')}`)).toMatchObject({
    message: expect.stringContaining('other bytes'),
  });
});

test('an answer without end, and none at all', async () => {
  registry.answer = (_request, response) => {
    response.writeHead(200);
    const chunk = Buffer.alloc(256 * 1024, 32);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  };
  expect(await failure(open())).toMatchObject({ code: 'too_large' });
  registry.answer = () => undefined;
  expect(await failure(open({ timeoutMs: 200 }))).toMatchObject({
    code: 'unavailable',
    message: `The registry ${registry.host} does not answer in time.`,
  });
});

test('TLS where there is TLS: no plain HTTP instead of a certificate that is not trusted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-registry-'));
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  const subject = ['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1'];
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
      '-keyout',
      key,
      '-out',
      cert,
      ...subject,
    ],
    { stdio: 'ignore' },
  );
  const ca = readFileSync(cert, 'utf8');
  const secure = await openFakeRegistry({ key: readFileSync(key, 'utf8'), cert: ca });
  rmSync(folder, { recursive: true });
  try {
    secure.answer = sendImage;
    expect(await open({ ca }).imageFacts(`${secure.host}/team/app`)).toEqual(facts);
    const before = secure.asked.length;
    await expect(open().imageFacts(`${secure.host}/team/app`)).rejects.toMatchObject({ code: 'unavailable' });
    expect(secure.asked.length).toBe(before);
  } finally {
    await secure.close();
  }
});
