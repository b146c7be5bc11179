import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { createOutboxRelay } from '../../src/bus/outbox-relay.ts';
import type { Bus, Delivery } from '../../src/bus/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { eventually } from '../../src/testing/eventually.ts';
import { newRun } from '../../src/testing/run-ledger-harness.ts';
import { busOn, openTestNats, randomNamespace, removeStreams } from './nats-fixture.ts';
import { connect, ledgerOf, log, removeNamespace, type RedisLedger } from './redis-fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A ledger that publishes on JetStream by itself. */
async function setUp(): Promise<{ bus: Bus; ledger: RedisLedger; namespace: string }> {
  const namespace = randomNamespace();
  const nats = await openTestNats();
  cleanups.push(async () => removeStreams(namespace), nats.close);
  const bus = await busOn(nats, { namespace });
  cleanups.push(bus.close);
  const redis = await connect(namespace);
  cleanups.push(async () => removeNamespace(namespace), redis.close);
  const ledger = ledgerOf(redis, { publish: bus.publish, carryRun: true });
  await ledger.markIntact();
  return { bus, ledger, namespace };
}

describe('a ledger beside JetStream', () => {
  it('has each accepted run in the stream before it says so', async () => {
    const { bus, ledger } = await setUp();
    const queue = await bus.workQueue({ durable: 'test-runs', name: 'runs.start', maxInFlight: 1000 });
    cleanups.push(queue.close);
    const runs = Array.from({ length: 300 }, () => newRun());
    await Promise.all(runs.map(async (run) => ledger.claim([run])));
    const got: Delivery[] = [];
    await eventually('all are fetched', async () => {
      got.push(...(await queue.fetch('thumbnail', 100)));
      return got.length >= runs.length;
    });
    expect(got.map(({ message }) => message.id).toSorted()).toEqual(
      runs.map(({ id }) => `${id}.1.start`).toSorted(),
    );
    // Its second home: what the ledger holds can be made from it.
    const stored = await ledger.get(runs[0]?.id ?? '');
    const message = got.find((it) => it.message.id === `${runs[0]?.id}.1.start`)?.message;
    expect(message?.payload).toMatchObject({ run: { ...stored, timeline: [] } });
    for (const delivery of got) await delivery.ack();
  });

  it('has what a killed process left published by a relay', async () => {
    const { bus, ledger, namespace } = await setUp();
    const queue = await bus.workQueue({ durable: 'test-runs', name: 'runs.start', maxInFlight: 10 });
    cleanups.push(queue.close);
    const { id } = newRun();
    const script = fileURLToPath(new URL('redis-dying-claimer.ts', import.meta.url));
    const child = spawn(process.execPath, [script, namespace, id], { stdio: ['pipe', 'pipe', 'inherit'] });
    cleanups.push(async () => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    expect(await ledger.claimed([id])).toEqual([true]);
    expect(await queue.fetch('thumbnail', 10)).toEqual([]);
    const relay = createOutboxRelay({ ledger, bus, clock: systemClock, log });
    await relay.start();
    cleanups.push(relay.stop);
    const [delivery] = await eventually(
      'its start arrives',
      async () => {
        const found = await queue.fetch('thumbnail', 10);
        return found.length > 0 && found;
      },
      10_000,
    );
    expect(delivery?.message).toMatchObject({ id: `${id}.1.start`, payload: { run_id: id, run: { id } } });
    await delivery?.ack();
  });
});
