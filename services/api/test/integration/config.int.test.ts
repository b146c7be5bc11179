import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

const put = async (body: string, as?: string | null) =>
  api.call('PUT', '/system/config', { body, ...(as === undefined ? {} : { as }) });
const allow = async (list: readonly string[]) => put(JSON.stringify({ allowed_image_repositories: list }));
const shown = async () => (await api.call('GET', '/system/config')).text;
const create = async (name: string, image: string, method = 'POST') =>
  api.call(method, '/system/services', { body: JSON.stringify({ name, image, script: 'true' }) });

const invalid = 'The configuration specification is not valid: ';

describe('PUT /system/config (OSCAR §1.9)', () => {
  test('sets the list, shows it, and takes it away', async () => {
    const answer = await allow(['ghcr.io/grycap', 'docker.io/library']);
    expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([
      200,
      'application/json; charset=utf-8',
      '["ghcr.io/grycap","docker.io/library"]',
    ]);
    expect(await shown()).toContain('"allowed_image_repositories":["ghcr.io/grycap","docker.io/library"]}');
    const absent = await put('{}');
    expect([absent.status, absent.text]).toEqual([200, 'null']);
    expect(await shown()).toContain('"allowed_image_repositories":[]}');
    expect((await allow([])).text).toBe('[]');
  });

  test('keys in any case, unknown ones ignored', async () => {
    const answer = await put('{"Allowed_Image_Repositories":["ghcr.io"],"config":{"name":"x"}}trailing');
    expect(answer.text).toBe('["ghcr.io"]');
    expect(await shown()).toContain('"config":{"name":"oscar"');
    await allow([]);
  });

  test.each([
    ['', `${invalid}EOF`],
    ['[1]', `${invalid}json: cannot unmarshal array into Go value of type types.Config`],
    [
      '{"allowed_image_repositories":"ghcr.io"}',
      `${invalid}json: cannot unmarshal string into Go struct field Config.allowed_image_repositories of type []string`,
    ],
    [
      '{"allowed_image_repositories":["ghcr.io",7]}',
      `${invalid}json: cannot unmarshal number into Go struct field Config.allowed_image_repositories of type string`,
    ],
    [
      '{"allowed_image_repositories":["ghcr.io","ghcr.io/x:1"]}',
      `${invalid}allowed_image_repositories[1]: "ghcr.io/x:1" is neither a registry nor a repository without tag (write for example "ghcr.io/grycap")`,
    ],
    [
      JSON.stringify({ allowed_image_repositories: Array.from({ length: 501 }, () => 'ghcr.io') }),
      `${invalid}allowed_image_repositories: has more than 500 entries`,
    ],
  ])('%.60s is 400 and changes nothing', async (body, text) => {
    const before = await shown();
    const answer = await put(body);
    expect([answer.status, answer.text]).toEqual([400, text]);
    expect(await shown()).toBe(before);
  });

  test('Basic only: a bearer gets 401 with an empty JSON text, nobody a bare 401', async () => {
    const token = await api.service('tokens');
    for (const bearer of [token, 'x'.repeat(64), 'eyJ.a.b']) {
      const answer = await put('{}', bearer);
      expect([answer.status, answer.text]).toEqual([401, '""']);
    }
    const nobody = await put('{}', null);
    expect([nobody.status, nobody.text]).toEqual([401, '']);
  });
});

describe('allowed images', () => {
  test('a service with another image is 400 naming it, at create and at update', async () => {
    await allow(['ghcr.io/grycap']);
    expect((await create('fine', 'ghcr.io/grycap/cowsay:1')).status).toBe(201);
    for (const image of [
      'ghcr.io/grycap-evil/x',
      'alpine',
      'evil.example/ghcr.io/grycap/x',
      'ghcr.io/grycap/../x',
    ]) {
      const answer = await create('refused', image);
      expect([answer.status, answer.text]).toEqual([
        400,
        `The service specification is not valid: image: image ${image} is not allowed for pull on the cluster. ` +
          'Allowed is what is under ghcr.io/grycap (allowed_image_repositories of /system/config)',
      ]);
      expect((await create('fine', image, 'PUT')).status).toBe(400);
    }
    expect((await api.call('GET', '/system/services/refused')).status).toBe(404);
    expect((await api.call('GET', '/system/services/fine')).text).toContain(
      '"image":"ghcr.io/grycap/cowsay:1"',
    );
    expect((await create('refused', 'alpine', 'PUT')).status).toBe(404);
    await allow([]);
    expect((await create('refused', 'alpine')).status).toBe(201);
  });
});
