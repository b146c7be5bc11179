import type { AttemptOutcome, RunChanged } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { createSoleLeases } from '@sluice/shared/stores';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openReplicaWorld, type ReplicaWorld } from '../replicas.ts';
import { createTestCluster } from '../test-cluster.ts';

// Two schedulers over one bus, one ledger and one cluster.
let world: ReplicaWorld;
beforeEach(async () => {
  world = await openReplicaWorld();
});
afterEach(async () => {
  await world.close();
});

const done: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };
const afterMs = (ms: number) => async (): Promise<AttemptOutcome> => {
  await clock.sleep(ms);
  return done;
};
const never = new Promise<never>(() => undefined);

test('two replicas run 500 runs within all limits, each once', async () => {
  const cluster = createTestCluster({ perform: afterMs(3) });
  const narrow = await world.define({ name: 'narrow', sluice: { max_concurrency: 2 } });
  const wide = await world.define({ name: 'wide' });
  await world.claim(narrow, 100);
  await world.claim(wide, 400);
  const replicas = await Promise.all([world.replica(cluster.replica()), world.replica(cluster.replica())]);
  await eventually('all', async () => (await world.ledger.counts()).succeeded === 500, 20_000);
  expect(cluster.started).toHaveLength(500);
  expect(new Set(cluster.started).size).toBe(500);
  expect(cluster.peak.all).toBeLessThanOrEqual(8);
  expect(cluster.peak.byService.get('narrow')).toBeLessThanOrEqual(2);
  expect(await world.bus.deadLetters.count()).toBe(0);
  for (const { scheduler } of replicas) {
    await eventually('no place to be in use', () => scheduler.slots().used === 0);
  }
});

test('when one of two replicas dies at its work the other does all of it, each attempt once', async () => {
  const succeeded = new Map<string, number>();
  await world.bus.listen(['runs.succeeded'], ({ payload }) => {
    const { run_id: id } = payload as RunChanged;
    succeeded.set(id, (succeeded.get(id) ?? 0) + 1);
  });
  const cluster = createTestCluster({ perform: afterMs(3) });
  const stored = await world.define({ name: 'wide' });
  await world.claim(stored, 500);
  const first = await world.replica(cluster.replica());
  // All places may be those of half done starts: then the audit ends them, and they start again.
  await world.replica(cluster.replica(), { config: { startGraceMs: 1000 } });
  await eventually('some', async () => (await world.ledger.counts()).succeeded >= 100);
  first.kill();
  await eventually('all', async () => (await world.ledger.counts()).succeeded === 500, 20_000);
  expect(new Set(cluster.started).size).toBe(cluster.started.length);
  await eventually('all to be said', () => succeeded.size === 500);
  expect([...succeeded.values()].every((count) => count === 1)).toBe(true);
});

test('a start that a dead replica left half done is done by the other one, as the same attempt', async () => {
  const cluster = createTestCluster({ perform: afterMs(3) });
  const stored = await world.define({ name: 'half' });
  const dying = cluster.replica();
  const first = await world.replica(dying);
  dying.beforeStart = () => {
    first.kill();
    return never;
  };
  const [id = ''] = await world.claim(stored, 1);
  await eventually('it to be taken', async () => (await world.ledger.get(id))?.state === 'starting');
  await world.replica(cluster.replica());
  const run = await eventually('its end', async () => {
    const found = await world.ledger.get(id);
    return found?.state === 'succeeded' ? found : undefined;
  });
  expect(run.attempt).toBe(1);
  expect(cluster.started).toEqual([`${id}.1`]);
});

test('a replica that starts does not take the attempts of others for lost', async () => {
  const end = Promise.withResolvers<AttemptOutcome>();
  const cluster = createTestCluster({ perform: () => end.promise });
  const stored = await world.define({ name: 'long' });
  const slow = cluster.replica();
  const gate = Promise.withResolvers<void>();
  await world.replica(slow);
  const [first = ''] = await world.claim(stored, 1);
  await eventually('the first to be under way', () => cluster.started.length === 1);
  slow.beforeStart = () => gate.promise;
  const [second = ''] = await world.claim(stored, 1);
  // Between its ledger change and the cluster, for several audits of the other one.
  await eventually('the second', async () => (await world.ledger.get(second))?.state === 'starting');
  let audits = 0;
  const other = await world.replica(cluster.replica(), {
    leases: {
      hold: (name) => {
        if (name === 'scheduler-audit') audits += 1;
        return Promise.resolve(true);
      },
      release: () => Promise.resolve(),
    },
  });
  await eventually('three audits', () => audits >= 4);
  expect((await world.ledger.get(first))?.attempt).toBe(1);
  expect((await world.ledger.get(second))?.attempt).toBe(1);
  gate.resolve();
  end.resolve(done);
  await eventually('both', async () => (await world.ledger.counts()).succeeded === 2);
  expect(cluster.started).toEqual([`${first}.1`, `${second}.1`]);
  await eventually('no place to be in use', () => other.scheduler.slots().used === 0);
});

test('an attempt that vanished from the cluster is found by whoever holds the lease, and runs again', async () => {
  const blocked = Promise.withResolvers<AttemptOutcome>();
  let performed = 0;
  const cluster = createTestCluster({
    perform: () => {
      performed += 1;
      return performed === 1 ? blocked.promise : Promise.resolve(done);
    },
  });
  const stored = await world.define({ name: 'vanish' });
  const none = { hold: () => Promise.resolve(false), release: () => Promise.resolve() };
  await world.replica(cluster.replica(), { leases: none });
  const [id = ''] = await world.claim(stored, 1);
  await eventually('it to be under way', () => cluster.started.length === 1);
  await world.ledger.transition({ id, from: ['starting'], to: 'running' });
  cluster.lose(id);
  await world.replica(cluster.replica(), { leases: createSoleLeases() });
  const run = await eventually('its end', async () => {
    const found = await world.ledger.get(id);
    return found?.state === 'succeeded' ? found : undefined;
  });
  expect(run).toMatchObject({ attempt: 2, infra_failures: 1 });
});

test('an attempt that nobody can be starting any more is lost as well', async () => {
  const blocked = Promise.withResolvers<AttemptOutcome>();
  let performed = 0;
  const cluster = createTestCluster({
    perform: () => {
      performed += 1;
      return performed === 1 ? blocked.promise : Promise.resolve(done);
    },
  });
  const stored = await world.define({ name: 'vanish' });
  await world.replica(cluster.replica(), { config: { startGraceMs: 300 } });
  const [id = ''] = await world.claim(stored, 1);
  await eventually('it to be under way', () => cluster.started.length === 1);
  const since = clock.monotonic();
  cluster.lose(id);
  const run = await eventually('its end', async () => {
    const found = await world.ledger.get(id);
    return found?.state === 'succeeded' ? found : undefined;
  });
  expect(run).toMatchObject({ attempt: 2, infra_failures: 0 });
  expect(clock.monotonic() - since).toBeGreaterThan(280);
});

test('a replica that faces a full cluster waits for room without asking for messages', async () => {
  const end = Promise.withResolvers<AttemptOutcome>();
  const cluster = createTestCluster({ perform: () => end.promise });
  const stored = await world.define({ name: 'full' });
  await world.claim(stored, 40);
  await world.replica(cluster.replica());
  await eventually('all places to be taken', () => cluster.started.length === 8);
  let [fetches, counts] = [0, 0];
  const bus = {
    ...world.bus,
    workQueue: async (spec: Parameters<typeof world.bus.workQueue>[0]) => {
      const queue = await world.bus.workQueue(spec);
      const fetch: typeof queue.fetch = (key, max) => {
        fetches += 1;
        return queue.fetch(key, max);
      };
      return { ...queue, fetch };
    },
  };
  const ledger = {
    ...world.ledger,
    counts: (service?: string) => {
      counts += 1;
      return world.ledger.counts(service);
    },
  };
  const second = cluster.replica();
  await world.replica(second, { bus, ledger });
  await eventually('it to have looked', () => counts > 0);
  // Arrivals are hints; they bring no room.
  for (let more = 0; more < 30; more += 1) await world.claim(stored, 1);
  await eventually('the arrivals', async () => (await world.ledger.counts()).queued === 62);
  expect(fetches).toBe(0);
  expect(counts).toBeLessThan(10);
  end.resolve(done);
  await eventually('all', async () => (await world.ledger.counts()).succeeded === 70);
  expect(cluster.peak.all).toBe(8);
});

test('what can never be started fails; what may be started later is tried again', async () => {
  const cluster = createTestCluster({ perform: () => Promise.resolve(done) });
  const executor = cluster.replica();
  const bad = await world.define({ name: 'bad' });
  const late = await world.define({ name: 'late' });
  let refusals = 0;
  executor.beforeStart = async (plan) => {
    if (plan.definition.name === 'bad') throw new AppError('unprocessable', 'the image name is wrong');
    refusals += 1;
    if (refusals === 1) throw new AppError('limit_reached', 'the quota is used up');
  };
  await world.replica(executor);
  const [first = '', second = ''] = [...(await world.claim(bad, 1)), ...(await world.claim(late, 1))];
  await eventually('both', async () => {
    const counts = await world.ledger.counts();
    return counts.failed === 1 && counts.succeeded === 1;
  });
  expect((await world.ledger.get(first))?.failure).toEqual({
    code: 'not_started',
    message: 'could not be started: the image name is wrong',
  });
  expect((await world.ledger.get(second))?.attempt).toBe(2);
});

test('a start of which nobody knows whether it was done is done again as the same attempt', async () => {
  const cluster = createTestCluster({ perform: () => Promise.resolve(done) });
  const executor = cluster.replica();
  const stored = await world.define({ name: 'silent' });
  let starts = 0;
  executor.beforeStart = async () => {
    starts += 1;
    if (starts <= 3) throw new AppError('unavailable', 'the cluster does not answer');
    return Promise.resolve();
  };
  await world.replica(executor);
  const [id = ''] = await world.claim(stored, 1);
  await eventually('its end', async () => (await world.ledger.get(id))?.state === 'succeeded');
  expect(await world.ledger.get(id)).toMatchObject({ attempt: 1, infra_failures: 0 });
  expect(starts).toBe(4);
});

test('a slow start keeps its message', async () => {
  const cluster = createTestCluster({ perform: () => Promise.resolve(done) });
  const slow = cluster.replica();
  const gate = Promise.withResolvers<void>();
  slow.beforeStart = () => gate.promise;
  const stored = await world.define({ name: 'slow' });
  await world.replica(slow);
  const [id = ''] = await world.claim(stored, 1);
  await eventually('it to be taken', async () => (await world.ledger.get(id))?.state === 'starting');
  let seen = 0;
  const other = cluster.replica();
  other.beforeStart = () => {
    seen += 1;
    return Promise.resolve();
  };
  await world.replica(other);
  // Three leases long.
  const since = clock.monotonic();
  await eventually('three leases', () => clock.monotonic() - since > 900);
  expect(seen).toBe(0);
  gate.resolve();
  await eventually('its end', async () => (await world.ledger.get(id))?.state === 'succeeded');
  expect((await world.ledger.get(id))?.attempt).toBe(1);
});
