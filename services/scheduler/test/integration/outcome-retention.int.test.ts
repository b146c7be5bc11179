import { Buffer } from 'node:buffer';
import { outcomeKey, type AttemptOutcome } from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openReplicaWorld, type ReplicaWorld } from '../replicas.ts';
import { createTestCluster } from '../test-cluster.ts';

let world: ReplicaWorld;
beforeEach(async () => {
  world = await openReplicaWorld();
});
afterEach(async () => {
  await world.close();
});

const done: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };
const keyOf = (service: string, runId: string, attempt = 1): string =>
  outcomeKey({ service, runId, attempt });
const put = (key: string): Promise<unknown> => world.objects.put(SYSTEM_BUCKET, key, Buffer.from('{}'));
const has = async (key: string): Promise<boolean> =>
  (await world.objects.head(SYSTEM_BUCKET, key)) !== undefined;

test('outcomes go with their claims, those of services that are gone as well; nothing else does', async () => {
  const stored = await world.define({ name: 'demo' });
  const [kept = ''] = await world.claim(stored, 1);
  const gone = Array.from({ length: 700 }, (_, index) => keyOf('gone', `gone-${index}`));
  for (const key of [...gone, keyOf('demo', 'demo-old'), keyOf('demo', 'demo-old', 2)]) await put(key);
  await put(keyOf('demo', kept));
  await put('runs/demo/demo-old/notes.txt');
  await put('events/demo');
  const cluster = createTestCluster({ perform: () => Promise.resolve(done) });
  let sweeps = 0;
  // Nothing has an age yet.
  const young = await world.replica(cluster.replica(), {
    objects: world.objects,
    leases: {
      hold: async (name) => {
        if (name === 'scheduler-outcomes') sweeps += 1;
        return true;
      },
      release: async () => undefined,
    },
    config: { outcomeSweepMs: 20 },
  });
  await eventually('it to be swept', () => sweeps > 1);
  await eventually('its end', async () => (await world.ledger.counts()).succeeded === 1);
  await young.stop();
  expect(await has(keyOf('demo', 'demo-old'))).toBe(true);
  await world.replica(cluster.replica(), {
    objects: world.objects,
    // All that is older than this moment; the claim's record is kept, and with it the claim.
    clock: { ...clock, now: () => clock.now() + 1000 },
    config: { outcomeSweepMs: 20, recordRetentionMs: 0, marginMs: 0, retentionIntervalMs: 60_000 },
  });
  await eventually('all of the services that are gone', async () => {
    const { objects } = await world.objects.list(SYSTEM_BUCKET, { prefix: 'runs/gone/', limit: 10 });
    return objects.length === 0;
  });
  await eventually('those of an earlier time', async () => !(await has(keyOf('demo', 'demo-old', 2))));
  expect(await has(keyOf('demo', 'demo-old'))).toBe(false);
  expect(await has(keyOf('demo', kept))).toBe(true);
  expect(await has('runs/demo/demo-old/notes.txt')).toBe(true);
  expect(await has('events/demo')).toBe(true);
});
