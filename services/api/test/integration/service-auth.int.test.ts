import { afterAll, beforeAll, expect, test } from 'vitest';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
let token = '';
let other = '';
beforeAll(async () => {
  api = await startFixture();
  token = await api.service('my-app');
  other = await api.service('other');
});
afterAll(async () => api.close());

const ask = async (headers: Record<string, string> = {}, query = '', name = 'my-app') =>
  api.call('GET', `/system/services/${name}/auth${query}`, { as: null, headers });
const cookie = () =>
  `oscar_service_my_app_auth=${token}; Path=/system/services/my-app/exposed; HttpOnly; SameSite=Lax`;

test('the service’s token opens from every place, and is kept in a cookie (OSCAR §3.5)', async () => {
  const answers = [
    await ask({ authorization: `Bearer ${token}` }),
    await ask({}, `?token=${token}`),
    await ask({ 'x-forwarded-uri': `/system/services/my-app/exposed/page?x=1&token=${token}` }),
    await ask({ cookie: `a=b; oscar_service_my_app_auth=${token}` }),
    await ask({ cookie: `oscar_service_my_app_auth=${token}` }, `?token=${other}`),
  ];
  for (const answer of answers) {
    expect([answer.status, answer.text, answer.headers['set-cookie']]).toEqual([200, '', [cookie()]]);
  }
  const secure = await ask({ authorization: `Bearer ${token}`, 'x-forwarded-proto': 'https' });
  expect(secure.headers['set-cookie']).toEqual([`${cookie()}; Secure`]);
});

test('another token is 401, a bearer header keeps out the rest', async () => {
  for (const answer of [
    await ask({ authorization: `Bearer ${other}` }),
    await ask({}, `?token=${other}`),
    await ask({}, `?token=${'x'.repeat(64)}`),
    await ask({ authorization: `Bearer ${other}` }, `?token=${token}`),
    await ask({ authorization: 'Bearer short' }, `?token=${token}`),
    await ask({}, `?token=${token}x`),
    await ask({}, `?token=${token}&token=${token}`),
    await ask(),
    await ask({ authorization: 'Basic bm9ib2R5Og==' }, `?token=${token}`),
  ]) {
    expect([answer.status, answer.text, answer.headers['set-cookie']]).toEqual([401, '', undefined]);
  }
});

test('the administrator passes without a cookie', async () => {
  const answer = await ask({ authorization: adminHeader });
  expect([answer.status, answer.text, answer.headers['set-cookie']]).toEqual([200, '', undefined]);
});

test('a service that is not there is 404', async () => {
  for (const answer of [
    await ask({ authorization: adminHeader }, '', 'missing'),
    await ask({ authorization: `Bearer ${token}` }, '', 'missing'),
  ]) {
    expect([answer.status, answer.text]).toEqual([404, '']);
  }
  expect((await ask({}, '', 'missing')).status).toBe(401);
});
