import { randomBytes, randomUUID } from 'node:crypto';
import { createNatsBus, createRedisRunLedger, openNats, openRedis } from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import { Secret } from '@sluice/shared/config';
import type { AttemptOutcome } from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeAll } from '../redis-cleaning.ts';
import { openReplicaWorld, type ReplicaWorld } from '../replicas.ts';
import { createTestCluster } from '../test-cluster.ts';

// Two schedulers, each with its own connections, over JetStream and Redis.
const log = silentLogger();
const done: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };
const perform = async (): Promise<AttemptOutcome> => {
  await clock.sleep(3);
  return done;
};

let world: ReplicaWorld;
let otherBus: Bus;
let closers: (() => Promise<void>)[];

beforeEach(async () => {
  closers = [];
  const namespace = `t-${randomBytes(5).toString('hex')}`;
  const first = await busOf(namespace);
  otherBus = await busOf(namespace);
  world = await openReplicaWorld(async (messages) => {
    const redis = await openRedis({
      url: new Secret(variable('REDIS_URL')),
      namespace: `test-${randomUUID()}`,
      name: 'test',
      clock,
      log,
    });
    const ledger = createRedisRunLedger({ redis, clock, log, carryRun: true, ...messages });
    await ledger.markIntact();
    const close = async (): Promise<void> => {
      await redis.run(removeAll, []);
      await redis.close();
    };
    return { ledger, close };
  }, first);
  closers.unshift(
    () => world.close(),
    () => otherBus.close(),
  );
});
afterEach(async () => {
  for (const close of closers) await close();
});

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`this test needs NATS and Redis: set ${name}`);
  return value;
}

async function busOf(namespace: string): Promise<Bus> {
  const nats = await openNats({ servers: [variable('NATS_URL')], name: 'test', clock, log });
  const limits = { streamBytes: 32 * 2 ** 20 };
  closers.push(async () => {
    const reply = await nats.connection.request('$JS.API.STREAM.NAMES', '{}');
    const { streams } = reply.json<{ streams?: string[] }>();
    const mine = (streams ?? []).filter((name) => name.startsWith(`${namespace.toUpperCase()}_`));
    for (const name of mine) await nats.connection.request(`$JS.API.STREAM.DELETE.${name}`);
    await nats.close();
  });
  return createNatsBus({ nats, namespace, clock, log, random: randomBytes, limits });
}

test('two replicas run 500 runs within all limits, each once', async () => {
  const cluster = createTestCluster({ perform });
  const narrow = await world.define({ name: 'narrow', sluice: { max_concurrency: 2 } });
  const wide = await world.define({ name: 'wide' });
  await world.claim(narrow, 100);
  await world.claim(wide, 400);
  await Promise.all([world.replica(cluster.replica()), world.replica(cluster.replica(), { bus: otherBus })]);
  await eventually('all', async () => (await world.ledger.counts()).succeeded === 500, 60_000);
  expect(cluster.started).toHaveLength(500);
  expect(new Set(cluster.started).size).toBe(500);
  expect(cluster.peak.all).toBeLessThanOrEqual(8);
  expect(cluster.peak.byService.get('narrow')).toBeLessThanOrEqual(2);
});

test('when one of two replicas dies at its work the other does all of it, each attempt once', async () => {
  const cluster = createTestCluster({ perform });
  const stored = await world.define({ name: 'wide' });
  await world.claim(stored, 300);
  const first = await world.replica(cluster.replica());
  await world.replica(cluster.replica(), { bus: otherBus, config: { startGraceMs: 1000 } });
  await eventually('some', async () => (await world.ledger.counts()).succeeded >= 50, 30_000);
  first.kill();
  await eventually('all', async () => (await world.ledger.counts()).succeeded === 300, 60_000);
  expect(new Set(cluster.started).size).toBe(cluster.started.length);
});
