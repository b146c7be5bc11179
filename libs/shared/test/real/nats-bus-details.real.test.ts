import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { afterEach, describe, expect, it } from 'vitest';
import { type Nats, type NatsBusOptions, openNats } from '../../src/adapters/index.ts';
import type { Bus, Delivery } from '../../src/bus/index.ts';
import { Secret } from '../../src/config/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import { numbered, recorder, startMessage } from '../../src/testing/bus-harness.ts';
import { eventually } from '../../src/testing/index.ts';
import { busOn, openTestNats, randomNamespace, removeStreams } from './nats-fixture.ts';
import { startServer } from './nats-own-server.ts';

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function ownNats(): Promise<Nats> {
  const nats = await openTestNats();
  cleanUps.push(nats.close);
  return nats;
}

async function open(nats: Nats, namespace: string, options: Partial<NatsBusOptions> = {}): Promise<Bus> {
  cleanUps.push(async () => removeStreams(namespace));
  const bus = await busOn(nats, { namespace, ...options });
  cleanUps.push(bus.close);
  return bus;
}

const common = { name: 'sluice-test', clock: systemClock, log: silentLogger(), waitMs: 500 };
const run = promisify(execFile);

describe('the connection to NATS', () => {
  it('says at once that credentials are refused, and connects with the right ones', async () => {
    const server = await startServer(['--auth', 'right']);
    cleanUps.push(server.close);
    const options = { ...common, servers: [server.url], waitMs: 60_000 };
    await expect(openNats({ ...options, token: new Secret('wrong') })).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    const nats = await openNats({ ...options, token: new Secret('right') });
    await nats.flush();
    await nats.close();
    await expect(nats.flush()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('trusts the authority that it is given, and no other', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-tls-'));
    cleanUps.push(async () => rm(folder, { recursive: true, force: true }));
    const file = (name: string): string => join(folder, name);
    await writeFile(file('san'), 'subjectAltName=IP:127.0.0.1');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    await run('openssl', [
      'req',
      '-x509',
      ...key,
      '-subj',
      '/CN=ca',
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.pem'),
    ]);
    await run('openssl', ['req', ...key, '-subj', '/CN=nats', '-keyout', file('key'), '-out', file('csr')]);
    const signed = [
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca.key'),
      '-CAcreateserial',
      '-extfile',
      file('san'),
    ];
    await run('openssl', ['x509', '-req', '-in', file('csr'), ...signed, '-out', file('cert')]);
    const server = await startServer(['--tls', '--tlscert', file('cert'), '--tlskey', file('key')]);
    cleanUps.push(server.close);
    const servers = [server.url.replace('nats:', 'tls:')];
    await expect(openNats({ ...common, servers })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('certificate is not trusted'),
    });
    const ca = await readFile(file('ca.pem'), 'utf8');
    const nats = await openNats({ ...common, servers, tls: { ca } });
    await nats.flush();
    await nats.close();
    const byName = [server.url.replace('nats://127.0.0.1', 'tls://localhost')];
    await expect(openNats({ ...common, servers: byName, tls: { ca } })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('certificate is for another name'),
    });
  });

  it('waits for the server as long as it may, and refuses what is no address', async () => {
    await expect(openNats({ ...common, servers: ['nats://127.0.0.1:1'] })).rejects.toMatchObject({
      code: 'unavailable',
    });
    for (const server of ['127.0.0.1:4222', 'nats://user:word@host', 'http://host', '']) {
      await expect(openNats({ ...common, servers: [server] })).rejects.toMatchObject({ field: 'servers' });
    }
  });
});

describe('the streams of the bus', () => {
  it('are made by several at once, and changed where they may be', async () => {
    const nats = await ownNats();
    const namespace = randomNamespace();
    await Promise.all([1, 2, 3].map(async () => open(nats, namespace)));
    await open(nats, namespace, { limits: { commands: 7 } });
    const jsm = await jetstreamManager(nats.connection);
    const stream = `${namespace.toUpperCase()}_CMD_RUNS_START`;
    expect((await jsm.streams.info(stream)).config.max_msgs).toBe(7);
  });

  it('that are there otherwise are refused with what is wrong', async () => {
    const nats = await ownNats();
    const namespace = randomNamespace();
    cleanUps.push(async () => removeStreams(namespace));
    const jsm = await jetstreamManager(nats.connection);
    const name = `${namespace.toUpperCase()}_CMD_RUNS_START`;
    await jsm.streams.add({ name, subjects: [`${namespace}.cmd.v1.runs.start.*`] });
    await expect(busOn(nats, { namespace })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('retention is limits and should be workqueue'),
    });
    await jsm.streams.delete(name);
    const other = `${namespace.toUpperCase()}_OTHER`;
    await jsm.streams.add({ name: other, subjects: [`${namespace}.cmd.>`] });
    await expect(busOn(nats, { namespace })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(other),
    });
  });

  it('leave room for other services when one has filled its share', async () => {
    const nats = await ownNats();
    const bus = await open(nats, randomNamespace(), { limits: { commandsPerKey: 3 } });
    await bus.publish(numbered(3).map((id) => startMessage(id, 'loud')));
    await expect(bus.publish([startMessage('more', 'loud')])).rejects.toMatchObject({
      code: 'limit_reached',
    });
    await bus.publish([startMessage('quiet', 'quiet')]);
  });

  it('take no message that would not fit among the dead letters', async () => {
    const nats = await ownNats();
    const bus = await open(nats, randomNamespace());
    const payload = 'x'.repeat(1_040_000);
    await expect(bus.publish([{ id: 'big', name: 'storage.notify', payload }])).rejects.toMatchObject({
      code: 'too_large',
    });
  });
});

describe('notifications of an S3 server', () => {
  it('come to every installation as they were sent, and again until they are handled', async () => {
    const nats = await ownNats();
    const notifySubject = `t.${randomBytes(5).toString('hex')}.notification`;
    const jsm = await jetstreamManager(nats.connection);
    cleanUps.push(async () => {
      await jsm.streams.delete(await jsm.streams.find(notifySubject));
    });
    const installations = [];
    for (const namespace of [randomNamespace(), randomNamespace()]) {
      const bus = await open(nats, namespace, { notifySubject });
      const seen: Delivery[] = [];
      await bus.subscribe({ durable: 'n', names: ['storage.notify'], maxInFlight: 1 }, async (delivery) => {
        seen.push(delivery);
        if (delivery.attempt === 1) await delivery.retry('not yet', 1);
      });
      installations.push({ bus, seen });
    }
    const body = { EventName: 's3:ObjectCreated:Put', Key: 'in/a.txt', Records: [{ n: 1 }] };
    nats.connection.publish(notifySubject, JSON.stringify(body));
    nats.connection.publish(notifySubject, 'no JSON');
    const [first] = installations;
    await first?.bus.publish([{ id: 'own', name: 'storage.notify', payload: { webhook: true } }]);
    for (const { bus, seen } of installations) {
      await eventually('the second attempt', () => seen.some(({ attempt }) => attempt === 2));
      await eventually('what is no JSON is dead', async () => (await bus.deadLetters.count()) === 1);
      expect(seen.find(({ message }) => message.id !== 'own')?.message).toMatchObject({
        name: 'storage.notify',
        key: undefined,
        payload: body,
      });
    }
    await eventually('its own came too', () => first?.seen.some(({ message }) => message.id === 'own'));
  });
});

describe('a work queue of many services', () => {
  it('costs one request a look, and knows what it may fetch', async () => {
    const nats = await ownNats();
    const bus = await open(nats, randomNamespace());
    const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 100 });
    cleanUps.push(queue.close);
    await bus.publish(numbered(2000, 's').map((service) => startMessage(`run-${service}`, service)));
    const before = nats.connection.stats().outMsgs;
    const backlog = await queue.backlog();
    expect(backlog).toHaveLength(2000);
    expect(nats.connection.stats().outMsgs - before).toBeLessThanOrEqual(2);
    const fetched = await Promise.all(numbered(50, 's').map(async (service) => queue.fetch(service, 2)));
    expect(fetched.flat()).toHaveLength(50);
    expect(await queue.backlog()).toHaveLength(1950);
    await Promise.all(fetched.flat().map(async (delivery) => delivery.ack()));
    expect(await queue.backlog()).toHaveLength(1950);
  });

  it('does not count what is put off, or what another process has, and says when it is ready', async () => {
    const nats = await ownNats();
    const namespace = randomNamespace();
    const bus = await open(nats, namespace);
    const spec = { durable: 'w', name: 'runs.start', maxInFlight: 100 } as const;
    const queue = await bus.workQueue(spec);
    const other = await (await open(await ownNats(), namespace)).workQueue(spec);
    cleanUps.push(queue.close, other.close);
    await bus.publish([startMessage('a', 'ä'), startMessage('b', 'ä')]);
    expect(await queue.backlog()).toEqual([{ key: 'ä', waiting: 2 }]);
    const [theirs] = await other.fetch('ä', 1);
    const [ours] = await queue.fetch('ä', 5);
    expect([theirs?.message.id, ours?.message.id]).toEqual(['a', 'b']);
    expect(await queue.backlog()).toEqual([]);
    let hints = 0;
    queue.onArrival(() => {
      hints += 1;
    });
    await ours?.retry('not yet', 400);
    expect(await queue.backlog()).toEqual([]);
    await eventually(
      'it is ready again',
      async () => hints > 0 && (await queue.fetch('ä', 1))[0]?.attempt === 2,
    );
    await bus.publish([startMessage('c', 'ä')]);
    await eventually('a new one is seen', async () => (await queue.backlog()).length === 1);
    expect((await queue.fetch('ä', 5)).map(({ message }) => message.id)).toEqual(['c']);
    expect(await queue.backlog()).toEqual([]);
    await theirs?.ack();
  });

  it('is read as a whole once it is read by key no more', async () => {
    const nats = await ownNats();
    const bus = await open(nats, randomNamespace());
    const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 1 });
    await bus.publish([startMessage('a')]);
    const [held] = await queue.fetch('thumbnail', 1);
    const { handler } = recorder();
    const spec = { durable: 'w', names: ['runs.start'], maxInFlight: 1 } as const;
    await expect(bus.subscribe(spec, handler)).rejects.toMatchObject({ code: 'conflict' });
    await held?.ack();
    await queue.close();
    await bus.subscribe(spec, handler);
  });
});
