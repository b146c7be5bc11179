import { AppError } from '@sluice/shared/errors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Answer, type Call, type Fixture } from './fixture.ts';
import { memoryDesk, type MemoryDesk } from './memory-desk.ts';

const root = '/system/api/v1/build';
const anna = 'anna-uuid:anna-key';
const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64');
const body = { source: 'python:3.12', target: 'anna:numpy', kind: 'python' };
/** Of the request's span: the build goes on with it. */
const traceparent = expect.stringMatching(/^00-[\da-f]{32}-[\da-f]{16}-01$/) as string;

let api: Fixture;
let desk: MemoryDesk;
beforeAll(async () => {
  desk = memoryDesk();
  api = await startFixture({ deps: () => ({ builds: desk }), env: { SLUICE_BUILD_BODY_LIMIT: '11000000' } });
});
afterAll(async () => api.close());

async function send(method: string, path: string, call: Call = {}): Promise<Answer> {
  const headers = { authorization: anna, 'content-type': 'application/json', ...call.headers };
  return api.call(method, `${root}${path}`, { ...call, as: null, headers });
}
const post = (path: string, value: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  send('POST', path, { body: typeof value === 'string' ? value : JSON.stringify(value), headers });
const ko = (message: string) => `${JSON.stringify({ message, status: 'ko' })}\n`;

describe('POST /start', () => {
  test('answers as the original, byte for byte, with the data below `data` as well', async () => {
    const answer = await post('/start', { ...body, file: base64('numpy\n') });
    const [, id = ''] = /Job: build-anna-([0-9a-f-]{36})"/.exec(answer.text) ?? [];
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.text).toBe(
      `{"data":{"id":"${id}","job_name":"build-anna-${id}"},"id":"${id}","job_name":"build-anna-${id}",` +
        `"message":"Build process initiated successfully. Job: build-anna-${id}","status":"ok"}\n`,
    );
    expect(desk.asked.at(-1)).toEqual({
      what: 'start',
      caller: { login: 'anna', admin: false, env: { REGISTRY_HOST: 'registry:5000' }, traceparent },
      value: { ...body, file: 'numpy\n' },
    });
    const again = await post('/start', { ...body, file: base64('numpy\n') });
    expect((again.json() as { id: string }).id).not.toBe(id);
  });

  test.each([
    ['as it is', anna],
    ['base64', base64(anna)],
    ['Basic base64', `Basic ${base64(anna)}`],
    ['Basic as it is', `basic ${anna}`],
    ['percent-encoded', 'anna%2Duuid:anna%2dkey'],
  ])('takes the token %s', async (_name, authorization) => {
    expect((await post('/start', body, { authorization })).status).toBe(200);
  });

  test.each([
    ['a wrong key', 'anna-uuid:bob-key'],
    ['another scheme', `Bearer ${base64(anna)}`],
    ['three parts', 'Basic anna-uuid anna-key'],
    ['no colon', 'anna'],
    ['two colons', 'anna:uuid:key'],
    ['an empty half', 'anna-uuid:'],
    ['noise', 'Basic ?'],
  ])('refuses %s with 401', async (_name, authorization) => {
    const answer = await post('/start', body, { authorization });
    expect([answer.status, answer.text]).toEqual([401, ko('Invalid authorization')]);
    expect(answer.headers['www-authenticate']).toBeUndefined();
  });

  test.each([
    ['/start', 'POST'],
    ['/cleanup', 'POST'],
    ['/status?id=x', 'GET'],
    ['/ensure', 'POST'],
    ['/capabilities', 'GET'],
    ['/abc', 'GET'],
  ])('%s without a header is 401', async (path, method) => {
    const answer = await api.call(method, `${root}${path}`, { as: null });
    expect([answer.status, answer.text]).toEqual([401, ko('Missing authorization header')]);
  });

  test('the login comes before the content type, and that before the body', async () => {
    const text = { 'content-type': 'text/plain' };
    expect((await post('/start', '{', { ...text, authorization: 'x' })).status).toBe(401);
    const answer = await post('/start', '{', text);
    expect([answer.status, answer.text]).toEqual([
      415,
      ko("Did not attempt to load JSON data because the request Content-Type was not 'application/json'."),
    ]);
  });

  test.each(['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/vnd.x+json'])(
    'takes the content type %s',
    async (type) => {
      expect((await post('/start', body, { 'content-type': type })).status).toBe(200);
    },
  );

  test.each([
    ['', '{'],
    ['nothing', ''],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ])('malformed JSON (%s) is 400', async (_name, bytes) => {
    const answer = await send('POST', '/start', { body: bytes });
    expect([answer.status, answer.text]).toEqual([400, ko('The body is not valid JSON in UTF-8.')]);
  });

  test.each([
    ['null', 400, 'No JSON payload provided for build.'],
    ['[]', 400, 'No source provided for build.'],
    ['7', 400, 'No source provided for build.'],
    ['{"target":"anna:x","kind":"python"}', 400, 'No source provided for build.'],
    ['{"source":"a","kind":"python"}', 400, 'No target provided for build.'],
    ['{"source":"a","target":"anna:x"}', 400, 'No kind provided for build.'],
    ['{"source":"a","target":"bob:x","kind":"python"}', 400, 'Invalid target for the build.'],
    ['{"source":"a","target":"ANNA:x","kind":"python"}', 400, 'Invalid target for the build.'],
    [{ ...body, file: null }, 400, 'Requirements file must be valid base64-encoded data'],
    [{ ...body, file: '***' }, 400, 'Requirements file must be valid base64-encoded data'],
    [{ ...body, file: '/w==' }, 400, 'Requirements file must be valid UTF-8 text'],
    [{ ...body, file: 'A'.repeat(10_000_001) }, 413, 'Requirements file too large (max 10MB base64-encoded)'],
    [{ ...body, file: base64('a'.repeat(5_000_001)) }, 413, 'Decoded requirements file too large (max 5MB)'],
  ])('refuses %#', async (value, status, message) => {
    const before = desk.asked.length;
    const answer = await post('/start', value);
    expect([answer.status, answer.text, answer.headers['content-type']]).toEqual([
      status,
      ko(message),
      'application/json',
    ]);
    expect(desk.asked).toHaveLength(before);
  });

  test('an unknown kind is 400, and a body past the limit 413 in the same form', async () => {
    const kind = await post('/start', { ...body, kind: 'rust' });
    expect([kind.status, (kind.json() as { status: string }).status]).toEqual([400, 'ko']);
    const large = await post('/start', 'x'.repeat(11_000_001));
    expect([large.status, (large.json() as { status: string }).status]).toEqual([413, 'ko']);
  });

  test.each([
    [new AppError('limit_reached', '20 builds wait already.', { retryAfterSeconds: 30 }), 429, '30'],
    [new AppError('unavailable', 'Redis is away.'), 503, '5'],
    [new AppError('invalid_input', 'source: is no reference'), 400, undefined],
    [new AppError('unprocessable', 'project.json is not understood.'), 422, undefined],
    [new AppError('not_found', 'There is no image rust:9.'), 404, undefined],
    [new AppError('forbidden', 'Images of evil.example may not be used.'), 403, undefined],
  ])('hands on what the desk says: %s', async (error, status, retryAfter) => {
    desk.refuse(error);
    const answer = await post('/start', body);
    expect([answer.status, answer.text]).toEqual([status, ko(error.message)]);
    expect(answer.headers['retry-after']).toBe(retryAfter);
  });
});

describe('POST /cleanup', () => {
  test.each([
    [{}, 86_400_000],
    [{ max_age_hours: '24' }, 86_400_000],
    [{ max_age_hours: 1.5 }, 3_600_000],
    [{ max_age_hours: true }, 3_600_000],
    [{ max_age_hours: -1 }, -3_600_000],
  ])('takes %j', async (value, ms) => {
    const answer = await post('/cleanup', value);
    expect([answer.status, answer.text]).toEqual([
      200,
      '{"message":"Cleaned up 0 jobs successfully.","status":"ok"}\n',
    ]);
    expect(desk.asked.at(-1)).toMatchObject({ what: 'cleanup', value: ms, caller: { login: 'anna' } });
  });

  test('counts what went: the caller’s own', async () => {
    desk.put({ user: 'anna', state: 'failed', ended_at: 1 });
    desk.put({ user: 'bob', state: 'failed', ended_at: 1 });
    expect((await post('/cleanup', { max_age_hours: 0 })).text).toContain('Cleaned up 1 jobs successfully.');
  });

  test('refuses what is no number, and no body', async () => {
    expect((await post('/cleanup', 'null')).text).toBe(ko('No JSON payload provided for cleanup.'));
    const answer = await post('/cleanup', { max_age_hours: 'soon' });
    expect([answer.status, answer.text]).toEqual([
      400,
      ko('Invalid max_age_hours for cleanup: it must be a whole number of hours, such as 24.'),
    ]);
  });
});

describe('GET /status', () => {
  test.each([
    ['queued', 'Pending', 0, 0, 0],
    ['running', 'Running', 1, 0, 0],
    ['succeeded', 'Succeeded', 0, 1, 0],
    ['failed', 'Failed', 0, 0, 1],
    ['cancelled', 'Failed', 0, 0, 1],
    ['expired', 'Failed', 0, 0, 1],
  ] as const)('%s is %s', async (state, phase, active, succeeded, failed) => {
    const { id } = desk.put({ user: 'anna', state });
    const answer = await send('GET', `/status?id=${id}`);
    expect(answer.status).toBe(200);
    expect(answer.json()).toMatchObject({
      message: 'Build status retrieved successfully.',
      status: 'ok',
      phase,
      active,
      succeeded,
      failed,
      state,
    });
  });

  test('is one line of sorted JSON, with the data twice', async () => {
    const { id } = desk.put({
      user: 'anna',
      state: 'failed',
      message: 'pip: no änderung',
      started_at: Date.parse('2026-01-02T03:04:06.999Z'),
      ended_at: Date.parse('2026-01-02T03:05:06.001Z'),
    });
    const data =
      `"completionTime":"2026-01-02T03:05:06Z","digest":null,"failed":1,"id":"${id}","image":"registry:5000/anna:numpy",` +
      `"job_name":"build-anna-${id}",`;
    const rest = `"phase":"Failed","reason":"pip: no \\u00e4nderung","startTime":"2026-01-02T03:04:06Z","state":"failed",`;
    expect((await send('GET', `/status?id=${id}`)).text).toBe(
      `{"active":0,"completionTime":"2026-01-02T03:05:06Z","data":{"active":0,${data}${rest}"succeeded":0},` +
        `${data.replace('"completionTime":"2026-01-02T03:05:06Z",', '')}"message":"Build status retrieved successfully.",${rest}"status":"ok","succeeded":0}\n`,
    );
  });

  test('of nothing, of nobody and of others is refused', async () => {
    const { id } = desk.put({ user: 'bob' });
    expect((await send('GET', '/status')).text).toBe(ko('No id provided for build status.'));
    expect((await send('GET', '/status?id=')).status).toBe(400);
    for (const other of [id, 'x', '..%2f', '6ba7b810-9dad-11d1-80b4-00c04fd430c8']) {
      const answer = await send('GET', `/status?id=${other}`);
      expect([answer.status, answer.text]).toEqual([404, ko('Build job not found')]);
    }
  });
});

describe('POST /ensure', () => {
  const ensure = { builder: 'python', file: base64('numpy\n') };

  test('is 202 while it waits or runs, 200 when it is there, 409 when it failed', async () => {
    const first = await post('/ensure', ensure);
    const { id } = first.json() as { id: string };
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    const data = (state: string, more = '') =>
      `"digest":null,"id":"${id}","image":null,"job_name":"build-anna-${id}","message":"Build ${state}","state":"${state}"${more}`;
    expect([first.status, first.text]).toEqual([
      202,
      `{"data":{${data('queued')}},${data('queued', ',"status":"ok"')}}\n`,
    ]);
    for (const [state, status] of [
      ['running', 202],
      ['failed', 409],
    ] as const) {
      desk.change(id, { state });
      const read = await send('GET', `/${id}`);
      expect([read.status, read.text]).toEqual([
        status,
        `{"data":{${data(state)}},${data(state, ',"status":"ok"')}}\n`,
      ]);
      expect((await post('/ensure', { ...ensure, retry: false })).text).toBe(read.text);
    }
    desk.change(id, { state: 'succeeded', digest: 'sha256:1', message: 'Built in 3 s' });
    const done = await send('GET', `/${id}`);
    expect([done.status, done.json()]).toMatchObject([
      200,
      {
        state: 'succeeded',
        image: `registry:5000/anna:python-${id.slice(0, 20)}`,
        digest: 'sha256:1',
        message: 'Built in 3 s',
      },
    ]);
    expect(desk.asked.findLast(({ what }) => what === 'ensure')).toEqual({
      what: 'ensure',
      caller: { login: 'anna', admin: false, env: {}, traceparent },
      value: { builder: 'python', file: 'numpy\n', retry: false },
    });
  });

  test.each([
    ['null', 'No JSON payload provided'],
    [{ ...ensure, builder: 'rust' }, 'Unknown builder: rust'],
    [{ builder: 'python' }, 'Build file must be a non-empty base64 string'],
    [{ ...ensure, file: '?' }, 'Build file must be valid base64-encoded UTF-8 text'],
    [{ ...ensure, file: 'A'.repeat(750_001) }, 'Build file is too large'],
    [{ ...ensure, retry: 1 }, 'retry must be true or false.'],
  ])('refuses %# with 400', async (value, message) => {
    const answer = await post('/ensure', value);
    expect([answer.status, answer.text]).toEqual([400, ko(message)]);
  });

  test('capabilities are the builders', async () => {
    expect((await send('GET', '/capabilities')).text).toBe(
      '{"builders":[{"id":"python","kind":"python"}],"data":{"builders":[{"id":"python","kind":"python"}]},' +
        '"message":"Builder capabilities retrieved","status":"ok"}\n',
    );
  });
});

describe('GET /{id}', () => {
  test('of a UUID is the build in Sluice’s form', async () => {
    const { id } = desk.put({ user: 'anna' });
    const answer = await send('GET', `/${id}`);
    expect(answer.json()).toMatchObject({ id, job_name: `build-anna-${id}`, state: 'queued', reused: false });
    const problem = await api.call('GET', `/system/builds/${id}`, {
      as: null,
      headers: { authorization: anna },
    });
    expect(answer.text).toBe(problem.text);
  });

  test.each([
    ['abc', 400, 'Invalid build id'],
    ['A'.repeat(64), 400, 'Invalid build id'],
    ['a'.repeat(64), 404, 'Build not found'],
    ['6ba7b810-9dad-11d1-80b4-00c04fd430c8', 404, 'Build not found'],
  ])('%s is %d', async (id, status, message) => {
    const answer = await send('GET', `/${id}`);
    expect([answer.status, answer.text]).toEqual([status, ko(message)]);
  });
});

describe('other methods', () => {
  test.each([
    ['GET', '/start', 'POST'],
    ['DELETE', '/start', 'POST'],
    ['PATCH', '/cleanup', 'POST'],
    ['GET', '/ensure', 'POST'],
    ['POST', '/status', 'GET'],
    ['PUT', '/capabilities', 'GET'],
    ['DELETE', '/abc', 'GET'],
  ])('%s %s is 405 before any login', async (method, path, allowed) => {
    const answer = await api.call(method, `${root}${path}`, { as: null });
    expect([answer.status, answer.text, answer.headers['allow']]).toEqual([
      405,
      ko('The method is not allowed for the requested URL.'),
      `OPTIONS, ${allowed}`,
    ]);
  });

  test('HEAD is one, and a path that is no UTF-8 is 400 in the same form', async () => {
    const head = await api.call('HEAD', `${root}/status`, { as: null });
    expect([head.status, head.text]).toEqual([405, '']);
    const answer = await send('GET', '/%zz');
    expect([answer.status, (answer.json() as { status: string }).status]).toEqual([400, 'ko']);
  });

  test('OPTIONS says what there is', async () => {
    const answer = await api.call('OPTIONS', `${root}/start`, { as: null });
    expect([answer.status, answer.text, answer.headers['allow']]).toEqual([200, '', 'OPTIONS, POST']);
  });
});

describe('pages of any origin', () => {
  const origin = 'https://elsewhere.example';
  test('may read every answer, refusals as well', async () => {
    const answer = await send('GET', '/capabilities', { headers: { origin } });
    expect(answer.headers['access-control-allow-origin']).toBe(origin);
    const refused = await api.call('GET', `${root}/capabilities`, { as: null, headers: { origin } });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, origin]);
    expect((await send('GET', '/capabilities')).headers['access-control-allow-origin']).toBe('*');
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('may ask first', async () => {
    const answer = await api.call('OPTIONS', `${root}/start`, {
      as: null,
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, content-type',
      },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT',
      'access-control-allow-headers': 'authorization, content-type',
    });
  });

  test('but not use Sluice’s own routes', async () => {
    const answer = await api.call('GET', '/system/builds', { headers: { origin } });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });
});
