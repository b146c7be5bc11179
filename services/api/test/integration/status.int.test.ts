import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

const read = async () => api.call('GET', '/system/status');

test('GET /system/status: the bytes of OSCAR §1.11', async () => {
  const token = await api.service('demo');
  await api.call('PUT', '/system/buckets/demo/objects/in/photo.jpg', { body: 'bytes' });
  for (const [id, state] of [
    ['demo-1', 'running'],
    ['demo-2', 'succeeded'],
    ['demo-3', 'queued'],
  ] as const) {
    await api.call('POST', '/job/demo', { as: token, headers: { 'x-delegated-job-id': id }, body: 'x' });
    await api.bring(id, state);
  }
  const answer = await read();
  expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
  const [, started = ''] = /"creation_timestamp":"([^"]+)"/.exec(answer.text) ?? [];
  expect(started).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(answer.text).toBe(
    [
      '{"cluster":{"nodes_count":1,"metrics":{',
      '"cpu":{"total_free_cores":2500,"max_free_on_node_cores":2500,"total_schedulable_cores":3800,"total_schedulable_on_node_cores":3800},',
      '"memory":{"total_free_bytes":6442450944,"max_free_on_node_bytes":6442450944,"total_schedulable_bytes":8321499136,"max_schedulable_on_node_bytes":8321499136},',
      '"gpu":{"total_gpu":0}},',
      '"nodes":[{"name":"machine","cpu":{"capacity_cores":4000,"usage_cores":1500,"request_cores":200},',
      '"memory":{"capacity_bytes":8589934592,"usage_bytes":2147483648,"request_bytes":268435456},',
      '"gpu":0,"is_interlink":false,"status":"Ready","conditions":[{"type":"Ready","status":true}]}]},',
      `"oscar":{"deployment_name":"oscar","ready":true,"deployment":{"available_replicas":1,"ready_replicas":1,"replicas":1,"creation_timestamp":"${started}","strategy":"Recreate","labels":{"app":"oscar"}},`,
      '"jobs_count":3,"pods":{"total":3,"states":{"Failed":0,"Pending":1,"Running":1,"Succeeded":1,"Unknown":0}},',
      '"oidc":{"enabled":false,"issuers":[],"groups":[]}},',
      '"minio":{"buckets_count":1,"total_objects":1}}',
    ].join(''),
  );
});

test('is the administrator’s', async () => {
  const token = await api.service('other');
  for (const as of [null, token]) expect((await api.call('GET', '/system/status', { as })).status).toBe(401);
});

test('objects are counted at most once a minute', async () => {
  const before = (await read()).json();
  await api.call('PUT', '/system/buckets/demo/objects/in/another.jpg', { body: 'bytes' });
  expect((await read()).json()).toMatchObject({ minio: (before as { minio: object }).minio });
});
