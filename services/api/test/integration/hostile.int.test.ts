import { connect } from 'node:net';
import { once } from 'node:events';
import { AppError } from '@sluice/shared/errors';
import { createLogger } from '@sluice/shared/telemetry';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
let token: string;
const logged: string[] = [];
const log = createLogger({
  name: 'test',
  level: 'error',
  destination: { write: (line: string) => void logged.push(line) },
});

beforeAll(async () => {
  api = await startFixture({ deps: () => ({ log }) });
  token = await api.service('demo');
});
afterAll(async () => api.close());
const paths = [
  '/health',
  '/system/info',
  '/system/config',
  '/system/status',
  '/system/logs',
  '/system/services',
  '/system/services/demo',
  '/system/services/x/backfill',
  '/system/services/demo/deployment',
  '/system/services/demo/deployment/logs',
  '/system/services/demo/stop',
  '/system/services/demo/start',
  '/system/services/demo/restart',
  '/system/services/demo/auth',
  '/system/buckets',
  '/system/buckets/demo',
  '/system/buckets/demo/presign',
  '/system/buckets/demo/objects',
  '/system/buckets/demo/objects/k',
  '/system/logs/demo',
  '/system/logs/demo/x',
  '/job/demo',
  '/system/runs',
  '/system/runs/x',
  '/system/runs/x/log',
  '/system/runs/x/cancel',
  '/system/runs/x/retry',
  '/system/dead-letters',
  '/system/dead-letters/x',
  '/system/dead-letters/x/redrive',
  '/system/overview',
  '/system/checks',
  '/objects/demo/k',
  '/metrics',
];
const names = [
  '../..',
  '%2e%2e%2f',
  '..%2f..',
  '%00',
  '%ff',
  'a'.repeat(300),
  '-',
  '.',
  '~',
  "';drop",
  '<script>',
  '__proto__',
  'constructor',
  'ü',
  '%E0%A4%A',
  '{}',
  '$(id)',
  '`id`',
  'a b'.replace(' ', '%20'),
];
const bodies = [
  '',
  ' ',
  'null',
  'true',
  '[]',
  '{}',
  '"x"',
  '12',
  '{',
  '{"a":',
  '{"name":"\\ud800"}',
  '{"__proto__":{"x":1},"constructor":{"prototype":{}}}',
  '{"name":null,"image":null}',
  '{"input":[null]}',
  '{"input":{"0":1}}',
  '{"bucket_name":{"a":1}}',
  '{"expires_in":1e400}',
  '{"prefix":["a"]}',
  '\u0000',
  '\ufeff{}',
  '{"name":"a"}'.repeat(1000),
  '['.repeat(100_000),
  '{"a":'.repeat(100_000),
  '{"Records":[{},{}]}',
  '{"Records":[null,null]}',
  '{"Records":[[[]]]}',
  `{"Records":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
];

describe('no answer is a 5xx', () => {
  test.each(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])(
    '%s of every route with every kind of login',
    async (method) => {
      for (const path of paths) {
        for (const as of ['admin', token, null]) {
          if (method === 'DELETE' && ['/system/services/demo', '/system/buckets/demo'].includes(path))
            continue;
          const answer = await api.call(method, path, { as });
          expect(answer.status, `${method} ${path} ${String(as)}`).toBeLessThan(500);
        }
      }
    },
  );

  test('odd names in every place of a path', async () => {
    for (const path of paths.filter((known) => /\/(demo|x|k)\b/.test(known))) {
      for (const name of names) {
        const odd = path.replace(/\/(demo|x|k)\b/, `/${name}`);
        for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
          const answer = await api.call(method, odd, {
            as: path.startsWith('/job') ? token : 'admin',
            ...(method.startsWith('P') ? { body: '{}' } : {}),
          });
          expect(answer.status, `${method} ${odd}`).toBeLessThan(500);
        }
      }
    }
  }, 60_000);

  test('every body to every route that reads one', async () => {
    const targets = [
      ['POST', '/system/services'],
      ['PUT', '/system/services'],
      ['POST', '/system/services/demo/backfill'],
      ['PUT', '/system/config'],
      ['POST', '/system/buckets'],
      ['PUT', '/system/buckets'],
      ['POST', '/system/buckets/demo/presign'],
      ['POST', '/job/demo'],
    ] as const;
    for (const [method, path] of targets) {
      for (const body of bodies) {
        const answer = await api.call(method, path, { as: path === '/job/demo' ? token : 'admin', body });
        expect(answer.status, `${method} ${path} ${body.slice(0, 40)}`).toBeLessThan(500);
      }
    }
  }, 60_000);

  test('odd queries', async () => {
    for (const query of [
      'limit=',
      'limit=-1',
      'limit=99999999999999999999',
      'state=',
      'page=%00',
      'cursor=%ff',
      'all=',
      'include=%00',
      'offset=1e9',
      'after=%00',
      'after=../..',
      'prefix=%00',
      'prefix=../../',
      '__proto__=1',
      'limit[a]=1',
      '&&&===',
      'keep_buckets=perhaps',
      'token=%00',
      'token[]=a&token=b',
      'timestamps=%ff',
      'tailLines=-1e99',
    ]) {
      for (const path of paths) {
        const answer = await api.call('GET', `${path}?${query}`, { as: 'admin' });
        expect(answer.status, `${path}?${query}`).toBeLessThan(500);
      }
    }
  }, 60_000);

  test('definitions of any shape', async () => {
    const key = fc.constantFrom(
      'name',
      'image',
      'script',
      'input',
      'output',
      'environment',
      'labels',
      'expose',
      'sluice',
      'mount',
      'storage_providers',
      'cpu',
      'federation',
      'annotations',
      'storage_provider',
      'path',
      'variables',
      'api_port',
      'timeout',
      'minio',
      'default',
      '__proto__',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.constantFrom('minio.default', 'demo', 'a/b', '1'),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(key, tie('value'), { maxKeys: 5 }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(key, value), async (definition) => {
        const body = JSON.stringify({ name: 'fuzz', image: 'i', script: 's', ...definition });
        const answer = await api.call('POST', '/system/services', { body });
        expect(answer.status).toBeLessThan(500);
        if (answer.status === 201) {
          const name = (JSON.parse(body) as { name: string }).name;
          expect((await api.call('GET', `/system/services/${name}`)).status).toBe(200);
          expect((await api.call('DELETE', `/system/services/${name}`)).status).toBe(204);
        }
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('requests that are no HTTP', async () => {
    for (const bytes of [
      'GET\r\n\r\n',
      'NOPE / HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
      `POST /job/demo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde`,
      `POST /job/demo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      `POST /job/demo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: -1\r\n\r\n`,
      '\u0016\u0003\u0001\u0002\u0000\u0001\u0000',
    ]) {
      expect(await api.raw(bytes), bytes.slice(0, 60)).not.toMatch(/^HTTP\/1\.1 5/);
    }
    expect((await api.call('GET', '/health')).status).toBe(200);
  });

  test('and none was our own bug', () => {
    expect(logged).toEqual([]);
  });

  test('MinIO’s probe: HEAD of a job route on a kept connection', async () => {
    const answer = await api.raw(
      'HEAD /job/demo HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
    expect(answer).toMatch(/\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nOk$/);
  });
});

test('a body that never comes ends in a 408', async () => {
  const slow = await startFixture({ env: { READ_TIMEOUT: '1' } });
  try {
    const answer = await slow.raw(
      `POST /system/services HTTP/1.1\r\nHost: x\r\nAuthorization: ${adminHeader}\r\nContent-Length: 10\r\n\r\nhalf`,
      3000,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  } finally {
    await slow.close();
  }
});

describe('with the ledger or the bus away', () => {
  test('a fast 503 with Retry-After, in each wire’s form', async () => {
    const away = async (): Promise<never> => {
      throw new AppError('unavailable', 'The ledger is away.', { retryAfterSeconds: 7 });
    };
    const broken = await startFixture({
      deps: (deps) => ({ ledger: { ...deps.ledger, claim: away, list: away, get: away } }),
    });
    try {
      const own = await broken.service('demo');
      const job = await broken.call('POST', '/job/demo', { as: own, body: 'x' });
      expect([job.status, job.text, job.headers['retry-after'], job.headers['content-type']]).toEqual([
        503,
        'The ledger is away.',
        '7',
        'text/plain; charset=utf-8',
      ]);
      const runs = await broken.call('GET', '/system/runs');
      expect([runs.status, runs.headers['content-type'], runs.headers['retry-after']]).toEqual([
        503,
        'application/problem+json',
        '7',
      ]);
      expect(runs.json()).toMatchObject({ code: 'unavailable', detail: 'The ledger is away.' });
    } finally {
      await broken.close();
    }
  });

  test('our own bug is a bare 500, logged with its stack', async () => {
    const lines: string[] = [];
    const bug = async (): Promise<never> => {
      throw new TypeError('secret detail');
    };
    const buggy = await startFixture({
      deps: (deps) => ({
        ledger: { ...deps.ledger, list: bug },
        log: createLogger({
          name: 'test',
          level: 'error',
          destination: { write: (line: string) => void lines.push(line) },
        }),
      }),
    });
    try {
      const answer = await buggy.call('GET', '/system/runs');
      expect([answer.status, answer.text]).toEqual([500, '']);
      expect(lines.join('')).toContain('secret detail');
      expect(lines.join('')).toContain(`"request_id":"${String(answer.headers['x-request-id'])}"`);
      expect(lines.join('')).not.toContain('authorization');
    } finally {
      await buggy.close();
    }
  });
});

describe('stopping', () => {
  test('finishes what is under way, takes nothing new, can be called twice', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
    const fixture = await startFixture({
      deps: (deps) => ({
        ledger: {
          ...deps.ledger,
          claim: async (runs) => {
            reach();
            await gate;
            return deps.ledger.claim(runs);
          },
        },
      }),
    });
    const own = await fixture.service('demo');
    const underWay = fixture.call('POST', '/job/demo', { as: own, body: 'x' });
    await reached;
    const { port } = fixture.api.address();
    const stopped = Promise.all([fixture.api.stop(), fixture.api.stop()]);
    await expect
      .poll(async () =>
        fixture.api.check().then(
          () => 'up',
          () => 'down',
        ),
      )
      .toBe('down');
    const refused = connect(port);
    await expect(once(refused, 'connect')).rejects.toThrow('ECONNREFUSED');
    open();
    const answer = await underWay;
    expect(answer.status).toBe(201);
    await stopped;
    expect(await fixture.ledger.get(String(answer.headers['x-run-id']))).toBeDefined();
    await fixture.close();
  });

  test('a taken port is said so', async () => {
    const port = String(api.api.address().port);
    await expect(startFixture({ env: { OSCAR_SERVICE_PORT: port } })).rejects.toMatchObject({
      code: 'conflict',
      message: `127.0.0.1:${port} is taken by another program. Set OSCAR_SERVICE_PORT to a free port.`,
    });
  });
});
