import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { Nats } from '../../src/adapters/index.ts';
import type { Bus } from '../../src/bus/index.ts';
import { isAppError } from '../../src/errors/index.ts';
import { numbered, startMessage } from '../../src/testing/bus-harness.ts';
import { eventually } from '../../src/testing/index.ts';
import { busOn, natsServer, openTestNats, randomNamespace, removeStreams } from './nats-fixture.ts';
import { startServer } from './nats-own-server.ts';

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function ownBus(): Promise<{ bus: Bus; nats: Nats; namespace: string }> {
  const namespace = randomNamespace();
  cleanUps.push(async () => removeStreams(namespace));
  const nats = await openTestNats();
  const bus = await busOn(nats, { namespace });
  cleanUps.push(async () => {
    await bus.close();
    await nats.close();
  });
  return { bus, nats, namespace };
}

interface Child {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  readonly ids: string[];
}

async function startReader(namespace: string, mode: 'handle' | 'hold', maxAttempts = 8): Promise<Child> {
  const path = fileURLToPath(new URL('./nats-reader-child.ts', import.meta.url));
  const child = spawn(process.execPath, [path, natsServer(), namespace, mode, String(maxAttempts)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanUps.push(async () => kill(child));
  const ids: string[] = [];
  let ready = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') ready = true;
    else ids.push(line);
  });
  await eventually('the reader is ready', () => ready, 60_000);
  return { process: child, ids };
}

async function kill(child: Child['process']): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

describe('the bus on JetStream', () => {
  it('loses nothing and gets stuck nowhere when the server is killed under load', async () => {
    const server = await startServer();
    cleanUps.push(server.close);
    const nats = await openTestNats(server.url);
    const bus = await busOn(nats, { namespace: 'faults' });
    cleanUps.push(async () => {
      await bus.close();
      await nats.close();
    });
    const seen = new Set<string>();
    const spec = { durable: 'r', names: ['runs.start'], maxInFlight: 16, leaseMs: 1000 } as const;
    await bus.subscribe(spec, async ({ message }) => {
      seen.add(message.id);
    });
    let refused = 0;
    let slowest = 0;
    const publishAll = async (): Promise<void> => {
      for (const id of numbered(2000)) {
        await eventually(
          `${id} is stored`,
          async () => {
            const asked = performance.now();
            try {
              await bus.publish([startMessage(id, `s${id.length}`)]);
              return true;
            } catch (error) {
              if (!isAppError(error, 'unavailable')) throw error;
              refused += 1;
              slowest = Math.max(slowest, performance.now() - asked);
              return false;
            }
          },
          60_000,
        );
      }
    };
    const publishing = publishAll();
    await eventually('the load runs', () => seen.size > 200);
    await server.kill();
    await eventually('publishing is refused', () => refused > 0);
    await expect(bus.check()).rejects.toMatchObject({ code: 'unavailable' });
    await server.start();
    await publishing;
    await eventually('all are handled', () => seen.size === 2000, 60_000);
    expect(slowest).toBeLessThan(1000);
    await bus.check();
  }, 60_000);

  it('goes on with a server that has lost its disk', async () => {
    const server = await startServer();
    cleanUps.push(server.close);
    const nats = await openTestNats(server.url);
    const bus = await busOn(nats, { namespace: 'faults' });
    cleanUps.push(async () => {
      await bus.close();
      await nats.close();
    });
    const seen: string[] = [];
    await bus.subscribe(
      { durable: 'r', names: ['runs.queued', 'runs.start'], maxInFlight: 2 },
      async (it) => {
        seen.push(it.message.id);
      },
    );
    const { jetstreamManager } = await import('@nats-io/jetstream');
    const jsm = await jetstreamManager(nats.connection);
    for await (const { config } of jsm.streams.list()) await jsm.streams.delete(config.name);
    await eventually(
      'the streams are made anew',
      async () => {
        try {
          await bus.publish([startMessage('after')]);
          return seen.includes('after');
        } catch {
          return false;
        }
      },
      60_000,
    );
  }, 60_000);

  it('shares work between processes, and comes back from one that is killed in the middle of it', async () => {
    const { bus, namespace } = await ownBus();
    const readers = await Promise.all([startReader(namespace, 'handle'), startReader(namespace, 'handle')]);
    await bus.publish(numbered(600).map((id) => startMessage(id, `s${id.length}`)));
    const [first, second] = readers;
    await eventually('both work', () => readers.every(({ ids }) => ids.length > 20));
    await kill(first.process);
    const all = (): Set<string> => new Set([...first.ids, ...second.ids]);
    await eventually('all are handled', () => all().size === 600, 60_000);
    // What the dead one had in hand came again, to the other.
    const held = (): number => first.ids.length + second.ids.length - 600;
    expect(held()).toBeLessThanOrEqual(16);
    expect(await bus.deadLetters.count()).toBe(0);
  }, 60_000);

  it('strands nothing when a process dies during the last delivery', async () => {
    const { bus, namespace } = await ownBus();
    const holder = await startReader(namespace, 'hold', 1);
    const traceparent = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';
    await bus.publish([{ ...startMessage('last'), traceparent }]);
    await eventually('it is in hand', () => holder.ids.includes('last'));
    await kill(holder.process);
    const again: string[] = [];
    const spec = {
      durable: 'reader',
      names: ['runs.start'],
      maxInFlight: 8,
      leaseMs: 1500,
      maxAttempts: 1,
    } as const;
    await bus.subscribe(spec, async ({ message }) => {
      again.push(message.id);
    });
    await eventually('it is dead', async () => (await bus.deadLetters.count()) === 1, 60_000);
    expect(again).toEqual([]);
    expect((await bus.deadLetters.list({ limit: 1 })).items[0]).toMatchObject({
      message_id: 'last',
      attempts: 1,
      reason: 'not settled in 1 deliveries',
      traceparent,
    });
  }, 60_000);
});
