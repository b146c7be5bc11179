import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

interface Entry {
  readonly timestamp: string;
  readonly status: number;
  readonly latency: string;
  readonly client_ip: string;
  readonly method: string;
  readonly path: string;
  readonly user: string;
  readonly raw: string;
}

let api: Fixture;
let token = '';
beforeAll(async () => {
  api = await startFixture();
  token = await api.service('demo');
});
afterAll(async () => api.close());

const logs = async (query = '') =>
  ((await api.call('GET', `/system/logs${query}`)).json() as { logs: Entry[] }).logs;
/** The lines, once there are so many: a line comes after its answer. */
const whenThere = async (count: number) =>
  eventually('the lines of all calls', async () => {
    const entries = await logs();
    return entries.length >= count ? entries : undefined;
  });

test('POSTs of /job as OSCAR’s execution logger has them, refused ones too, and nothing else', async () => {
  const first = await api.call('GET', '/system/logs');
  expect([first.status, first.headers['content-type'], first.text]).toEqual([
    200,
    'application/json; charset=utf-8',
    '{"logs":[]}',
  ]);
  const headers = { 'x-forwarded-for': '203.0.113.7, 10.0.0.1' };
  await api.call('POST', '/job/demo?token=secret', { as: token, body: 'x', headers });
  await api.call('POST', '/job/demo', { as: 'f'.repeat(64), body: 'x' });
  await api.call('GET', '/job/demo', { as: token });
  await api.call('POST', '/job/demo/', { as: token });
  await api.call('GET', '/system/services');
  const entries = await whenThere(2);
  expect(entries).toHaveLength(2);
  expect(entries[0]).toEqual({
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/),
    status: 201,
    latency: expect.stringMatching(/^[0-9.]+(ns|µs|ms|s)$/),
    client_ip: '203.0.113.7',
    method: 'POST',
    path: '/job/demo',
    user: 'oscar',
    raw: expect.stringMatching(
      /^\[GIN-EXECUTIONS-LOGGER\] \S+Z \| 201 \| +\S+ \| 203\.0\.113\.7 \| POST {4}\/job\/demo \| oscar$/,
    ),
  });
  expect(entries[1]).toMatchObject({ status: 401, user: 'nil', client_ip: '127.0.0.1' });
  const text = (await api.call('GET', '/system/logs')).text;
  expect(text).not.toContain('secret');
  expect(text).not.toContain('ffff');
  expect(text).toMatch(
    /^\{"logs":\[\{"timestamp":"[^"]+","status":201,"latency":"[^"]+","client_ip":"203\.0\.113\.7","method":"POST","path":"\/job\/demo","user":"oscar","raw":"/,
  );
});

test('timestamps and previous are taken; another process has left no lines', async () => {
  await api.call('POST', '/job/demo', { as: token, body: 'x' });
  await whenThere(1);
  for (const entry of await logs('?timestamps=true&previous=false')) {
    expect(entry.raw.startsWith(`${entry.timestamp} [GIN-EXECUTIONS-LOGGER]`)).toBe(true);
  }
  expect(await logs('?previous=true')).toEqual([]);
  for (const name of ['timestamps', 'previous']) {
    const answer = await api.call('GET', `/system/logs?${name}=perhaps`);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining(`${name}: `)]);
  }
});

test('is the administrator’s, and does not get in the way of a service’s jobs', async () => {
  for (const as of [null, token]) expect((await api.call('GET', '/system/logs', { as })).status).toBe(401);
  expect((await api.call('GET', '/system/logs/demo')).text).toMatch(/^\{"jobs":/);
  expect((await api.call('DELETE', '/system/logs')).status).toBe(404);
});

test('a thousand lines are kept', async () => {
  for (let round = 0; round < 21; round += 1) {
    await Promise.all(
      Array.from({ length: 50 }, async () => api.call('POST', '/job/demo', { as: null, body: 'x' })),
    );
  }
  await api.call('POST', '/job/demo', { as: token, body: 'x' });
  await eventually('the last line', async () => (await logs()).at(-1)?.status === 201);
  expect(await logs()).toHaveLength(1000);
});
