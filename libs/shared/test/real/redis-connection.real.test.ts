import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import pino from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { createRedisLeases, openRedis, type RedisConnection } from '../../src/adapters/index.ts';
import { Secret } from '../../src/config/index.ts';
import { messageOf } from '../../src/errors/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { eventually } from '../../src/testing/eventually.ts';
import { newRun } from '../../src/testing/run-ledger-harness.ts';
import { connect, ledgerOf, log, randomNamespace, removeNamespace } from './redis-fixture.ts';
import { startRedis, type TestRedis } from './redis-server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function server(...args: Parameters<typeof startRedis>): Promise<TestRedis> {
  const redis = await startRedis(...args);
  cleanups.push(redis.close);
  return redis;
}

async function open(...args: Parameters<typeof connect>): Promise<RedisConnection> {
  const redis = await connect(...args);
  cleanups.push(redis.close);
  return redis;
}

describe('a connection', () => {
  it('fails at once while Redis is away, and comes back by itself', async () => {
    const own = await server();
    const redis = await open('ns', { url: own.url });
    await redis.check();
    await own.kill();
    await eventually('the connection is down', async () =>
      redis.check().then(
        () => false,
        () => true,
      ),
    );
    const started = performance.now();
    for (let index = 0; index < 50; index += 1) {
      await expect(redis.check()).rejects.toMatchObject({ code: 'unavailable', retry: 'later' });
    }
    expect(performance.now() - started).toBeLessThan(10_000);
    await eventually('it says why', async () =>
      redis.check().catch((error: unknown) => messageOf(error).includes('connect ECONNREFUSED')),
    );
    await own.start();
    await eventually(
      'it works again',
      async () =>
        redis.check().then(
          () => true,
          () => false,
        ),
      10_000,
    );
  });

  it('rejects what is under way when Redis dies, and does not send it again', async () => {
    const own = await server(['--appendonly', 'yes', '--appendfsync', 'always']);
    const redis = await open('ns', { url: own.url });
    const ledger = ledgerOf(redis);
    await ledger.markIntact();
    const pending = Promise.allSettled(Array.from({ length: 500 }, async () => ledger.claim([newRun()])));
    await own.kill();
    const failed = (await pending).filter(({ status }) => status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed as PromiseRejectedResult[])
      expect(reason).toMatchObject({ code: 'unavailable' });
  });

  it('gives up a command that is not answered', async () => {
    const own = await server();
    const redis = await open('ns', { url: own.url, timeoutMs: 300 });
    await redis.check();
    own.standStill();
    await expect(redis.check()).rejects.toMatchObject({ code: 'unavailable' });
    own.goOn();
    await eventually(
      'it works again',
      async () =>
        redis.check().then(
          () => true,
          () => false,
        ),
      10_000,
    );
  });

  it('opens while Redis is away, and says so', async () => {
    const redis = await open('ns', { url: 'redis://127.0.0.1:1' });
    await expect(redis.check()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('says what is wrong with a password, and shows it to nobody', async () => {
    const own = await server(['--requirepass', 'right-secret'], {
      url: (port) => `redis://:right-secret@127.0.0.1:${port}`,
    });
    const lines: string[] = [];
    const logger = pino({ level: 'trace' }, { write: (line) => lines.push(line) });
    const with_ = async (auth: string): Promise<RedisConnection> => {
      const redis = await openRedis({
        url: new Secret(`redis://${auth}127.0.0.1:${own.port}`),
        namespace: 'ns',
        name: 'test',
        clock: systemClock,
        log: logger,
      });
      cleanups.push(redis.close);
      return redis;
    };
    const failure = async (redis: RedisConnection): Promise<unknown> =>
      redis.check().then(
        () => 'none',
        (error: unknown) => error,
      );
    const wrong = await failure(await with_(':wrong-secret@'));
    expect(wrong).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('refuses the user or the password'),
    });
    const none = await failure(await with_(''));
    expect(none).toMatchObject({ code: 'unavailable', message: expect.stringContaining('wants a password') });
    await (await with_(':right-secret@')).check();
    const said = [inspect(wrong, { depth: 9 }), inspect(none, { depth: 9 }), ...lines].join('\n');
    expect(lines.length).toBeGreaterThan(0);
    expect(said).not.toContain('-secret');
  });

  it('speaks TLS, and checks who answers', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-tls-'));
    cleanups.push(async () => rm(folder, { recursive: true, force: true }));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'].concat([
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        key,
        '-out',
        cert,
      ]),
      { stdio: 'ignore' },
    );
    const ca = await readFile(cert, 'utf8');
    const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
    const own = await server(
      (port) => ['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no', ...files],
      { url: (port) => `rediss://localhost:${port}`, ca },
    );
    await (await open('ns', { url: own.url, ca })).check();
    const stranger = await open('ns', { url: own.url });
    await expect(stranger.check()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('certificate'),
    });
  });

  it.each(['', 'nonsense', 'http://localhost', 'redis://', 'redis://h/name'])(
    'is not opened to %j',
    async (url) => {
      await expect(connect('ns', { url })).rejects.toMatchObject({
        code: 'invalid_input',
        field: 'REDIS_URL',
      });
    },
  );
});

describe('leases', () => {
  it('are held by one of many, until released or over', async () => {
    const namespace = randomNamespace();
    cleanups.push(async () => removeNamespace(namespace));
    const redis = await open(namespace);
    const all = Array.from({ length: 10 }, () => createRedisLeases({ redis, log }));
    const held = await Promise.all(all.map(async (leases) => leases.hold('scheduler-sweep', 60_000)));
    expect(held.filter(Boolean)).toHaveLength(1);
    const holder = all.find((_, index) => held[index]);
    const other = all.find((_, index) => !held[index]);
    if (holder === undefined || other === undefined) throw new Error('none');
    expect(await holder.hold('scheduler-sweep', 60_000)).toBe(true);
    expect(await other.hold('scheduler-other', 60_000)).toBe(true);
    // Another one's lease is not released.
    await other.release('scheduler-sweep');
    expect(await other.hold('scheduler-sweep', 60_000)).toBe(false);
    await holder.release('scheduler-sweep');
    expect(await other.hold('scheduler-sweep', 50)).toBe(true);
    await eventually('it is over', async () => holder.hold('scheduler-sweep', 60_000));
    expect(await other.hold('scheduler-sweep', 50)).toBe(false);
  });

  it("are nobody's while Redis is away", async () => {
    const redis = await open('ns', { url: 'redis://127.0.0.1:1' });
    const leases = createRedisLeases({ redis, log });
    expect(await leases.hold('x', 1000)).toBe(false);
    await expect(leases.release('x')).resolves.toBeUndefined();
  });
});
