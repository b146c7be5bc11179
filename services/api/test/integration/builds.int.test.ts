import { Secret } from '@sluice/shared/config';
import { AppError } from '@sluice/shared/errors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Answer, type Call, type Fixture } from './fixture.ts';
import { memoryDesk, type MemoryDesk } from './memory-desk.ts';

const anna = 'anna-uuid:anna-key';
const bob = 'bob-uuid:bob-key';

let api: Fixture;
let desk: MemoryDesk;
beforeAll(async () => {
  desk = memoryDesk();
  api = await startFixture({ deps: () => ({ builds: desk }) });
});
afterAll(async () => api.close());

async function send(method: string, path: string, authorization = anna, call: Call = {}): Promise<Answer> {
  return api.call(method, path, { ...call, as: null, headers: { authorization, ...call.headers } });
}

describe('GET /system/builds', () => {
  test('lists the caller’s own, newest first, page by page', async () => {
    const own = ['queued', 'failed', 'queued'].map((state) =>
      desk.put({ user: 'anna', state: state as 'queued' }),
    );
    desk.put({ user: 'bob' });
    const idsOf = (answer: Answer) =>
      (answer.json() as { builds: { id: string }[] }).builds.map(({ id }) => id);
    const first = await send('GET', '/system/builds?limit=2');
    expect(idsOf(first)).toEqual([own[2]?.id, own[1]?.id]);
    const { next } = first.json() as { next: string };
    const second = await send('GET', `/system/builds?limit=2&after=${next}`);
    expect(idsOf(second)).toEqual([own[0]?.id]);
    expect(second.json()).not.toHaveProperty('next');
    expect(idsOf(await send('GET', '/system/builds?state=failed'))).toEqual([own[1]?.id]);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['state=done', 'state'],
  ])('refuses %s', async (query, field) => {
    const answer = await send('GET', `/system/builds?${query}`);
    expect([answer.status, answer.json()]).toMatchObject([400, { field }]);
  });
});

describe('/system/builds/{id}', () => {
  test('shows a build; another’s and none are 404', async () => {
    const { id } = desk.put({
      user: 'anna',
      state: 'running',
      started_at: Date.parse('2026-01-02T03:04:06.000Z'),
    });
    const answer = await send('GET', `/system/builds/${id}`);
    expect(answer.json()).toEqual({
      id,
      job_name: `build-anna-${id}`,
      user: 'anna',
      build: expect.any(String) as unknown,
      state: 'running',
      kind: 'python',
      source: 'docker.io/library/python:3.12',
      target: 'anna:numpy',
      image: 'registry:5000/anna:numpy',
      pushed: 'registry:5000/anna:numpy',
      reused: false,
      created_at: '2026-01-02T03:04:05.678Z',
      started_at: '2026-01-02T03:04:06.000Z',
    });
    for (const [path, as] of [
      [`/system/builds/${id}`, bob],
      [`/system/builds/${id}/logs`, bob],
      ['/system/builds/6ba7b810-9dad-11d1-80b4-00c04fd430c8', anna],
      ['/system/builds/x', anna],
    ] as const) {
      const refused = await send('GET', path, as);
      expect([refused.status, refused.headers['content-type']]).toEqual([404, 'application/problem+json']);
    }
    expect((await send('DELETE', `/system/builds/${id}`, bob)).status).toBe(404);
  });

  test('DELETE cancels, and does so again without a change', async () => {
    const { id } = desk.put({ user: 'anna' });
    const first = await send('DELETE', `/system/builds/${id}`);
    expect([first.status, first.json()]).toMatchObject([200, { id, state: 'cancelled' }]);
    const again = await send('DELETE', `/system/builds/${id}`);
    expect([again.status, again.text]).toEqual([200, first.text]);
  });
});

describe('/system/builds/usage and /system/images', () => {
  test('are the caller’s own', async () => {
    desk.image('anna', { tag: 'numpy', kind: 'python', used_by: ['thumbnail'] });
    expect((await send('GET', '/system/builds/usage')).json()).toMatchObject({ max_queued: 20, images: 1 });
    const { images } = (await send('GET', '/system/images')).json() as { images: unknown[] };
    expect(images).toEqual([
      {
        tag: 'numpy',
        image: 'registry:5000/anna:numpy',
        digest: `sha256:${'ab'.repeat(32)}`,
        size: 1000,
        created_at: '2026-01-02T03:04:05.678Z',
        kind: 'python',
        used_by: ['thumbnail'],
      },
    ]);
    expect((await send('GET', '/system/images/numpy')).json()).toEqual(images[0]);
    expect((await send('GET', '/system/images', bob)).json()).toEqual({ images: [] });
    for (const tag of ['none', 'a%2Fb', '-a', 'a'.repeat(129), 'a%0Ab']) {
      expect((await send('GET', `/system/images/${tag}`)).status).toBe(404);
      expect((await send('DELETE', `/system/images/${tag}`)).status).toBe(404);
    }
    expect((await send('GET', '/system/images/numpy', bob)).status).toBe(404);
  });

  test('what a service uses is removed by force only', async () => {
    desk.image('anna', { tag: 'used', used_by: ['thumbnail'] });
    const refused = await send('DELETE', '/system/images/used');
    expect([refused.status, refused.json()]).toMatchObject([409, { code: 'conflict' }]);
    expect((await send('DELETE', '/system/images/used?force=true')).status).toBe(204);
    expect(desk.asked.at(-1)?.value).toEqual({ tag: 'used', force: true });
  });

  test('the administrator alone prunes', async () => {
    expect((await send('POST', '/system/images/prune')).status).toBe(403);
    expect(desk.asked.some(({ what }) => what === 'prune')).toBe(false);
    const answer = await api.call('POST', '/system/images/prune?dry_run=true');
    expect([answer.status, answer.json()]).toMatchObject([200, { dry_run: true, removed: [], kept: [] }]);
    await api.call('POST', '/system/images/prune');
    expect(desk.asked.at(-1)?.value).toEqual({ dryRun: false });
  });
});

describe('who calls', () => {
  test('a login that is none is a problem with a challenge', async () => {
    for (const headers of [{}, { authorization: 'x' }, { authorization: `Bearer ${'a'.repeat(64)}` }]) {
      const answer = await api.call('GET', '/system/builds', { as: null, headers });
      expect([answer.status, answer.json()]).toMatchObject([401, { code: 'unauthenticated' }]);
      expect(answer.headers['www-authenticate']).toBe('Basic realm="Authorization Required"');
    }
  });

  test.each(['Basic Admin:secret%25', 'Admin:secret%25', Buffer.from('Admin:secret%').toString('base64')])(
    'the administrator may say %j',
    async (authorization) => {
      const own = memoryDesk();
      const other = await startFixture({
        deps: ({ config }) => ({
          builds: own,
          config: { ...config, adminUser: 'Admin', adminPassword: new Secret('secret%') },
        }),
      });
      try {
        const { id } = own.put({ user: 'admin' });
        const answer = await other.call('GET', `/system/builds/${id}`, {
          as: null,
          headers: { authorization },
        });
        expect(answer.status).toBe(200);
        expect(own.asked.at(-1)?.caller).toEqual({ login: 'admin', admin: true, env: {} });
      } finally {
        await other.close();
      }
    },
  );

  test('an administrator whose name is no repository is told so', async () => {
    const other = await startFixture({
      deps: ({ config }) => ({
        builds: memoryDesk(),
        config: { ...config, adminUser: 'the-admin', adminPassword: new Secret('secret') },
      }),
    });
    try {
      const answer = await other.call('GET', '/system/builds', {
        as: null,
        headers: { authorization: 'the-admin:secret' },
      });
      expect([answer.status, (answer.json() as { detail: string }).detail]).toMatchObject([
        403,
        expect.stringContaining('OSCAR_USERNAME'),
      ]);
    } finally {
      await other.close();
    }
  });

  test('a desk that is away is 503 with Retry-After', async () => {
    desk.refuse(new AppError('unavailable', 'Redis is away.', { retryAfterSeconds: 7 }));
    const answer = await send('GET', '/system/builds/6ba7b810-9dad-11d1-80b4-00c04fd430c8');
    expect([answer.status, answer.headers['retry-after'], answer.json()]).toMatchObject([
      503,
      '7',
      { detail: 'Redis is away.' },
    ]);
  });
});

test('without a builder every route says what to set', async () => {
  const bare = await startFixture();
  const message = 'This installation builds no images. Set REDIS_URL, BUILDKIT_HOST and REGISTRY_HOST.';
  try {
    for (const [method, path] of [
      ['POST', '/system/api/v1/build/start'],
      ['GET', '/system/api/v1/build/capabilities'],
    ] as const) {
      const answer = await bare.call(method, path, { as: null });
      expect([answer.status, answer.text]).toEqual([503, `${JSON.stringify({ message, status: 'ko' })}\n`]);
    }
    for (const path of ['/system/builds', '/system/images', '/system/builds/x/logs']) {
      const answer = await bare.call('GET', path);
      expect([answer.status, answer.json()]).toMatchObject([503, { code: 'unavailable', detail: message }]);
      // Clients would wait for it.
      expect(answer.headers).not.toHaveProperty('retry-after');
    }
  } finally {
    await bare.close();
  }
});
