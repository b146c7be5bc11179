import { Buffer } from 'node:buffer';
import {
  outcomeKey,
  type AttemptOutcome,
  type AttemptPlan,
  type OutcomeRecord,
  type Run,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Executor } from '../src/index.ts';
import type { ForgetfulLedger } from './forgetful-ledger.ts';
import { openReplicaWorld, type OpenWorld, type ReplicaWorld } from './replicas.ts';
import { createTestCluster, type TestCluster } from './test-cluster.ts';

const done: AttemptOutcome = { result: 'succeeded', script_started: true, exit_code: 0, outputs: [] };

/** What a scheduler does about a ledger that loses its memory. */
export function describeRebuild(name: string, openLedger: OpenWorld<ForgetfulLedger>): void {
  describe(`rebuild: ${name}`, () => {
    let world: ReplicaWorld<ForgetfulLedger>;
    let cluster: TestCluster;
    /** Attempts of slow services end here. */
    let gate: PromiseWithResolvers<void>;
    let outcomeOf: (plan: AttemptPlan) => AttemptOutcome;

    beforeEach(async () => {
      world = await openReplicaWorld(openLedger);
      gate = Promise.withResolvers();
      outcomeOf = () => done;
      cluster = createTestCluster({
        perform: async (plan, run) => {
          if (plan.definition.name === 'slow') await gate.promise;
          const outcome = outcomeOf(plan);
          if (run !== undefined) await writeOutcome(run, outcome);
          return outcome;
        },
      });
    });
    afterEach(async () => {
      gate.resolve();
      await world.close();
    });

    /** As a supervisor does before it reports. */
    const writeOutcome = async (run: Run, outcome: AttemptOutcome): Promise<void> => {
      const record: OutcomeRecord = { outcome, run, ended_at: clock.now() };
      const key = outcomeKey({ service: run.service, runId: run.id, attempt: run.attempt });
      await world.objects.put(SYSTEM_BUCKET, key, Buffer.from(JSON.stringify(record)), { ifNoneMatch: '*' });
    };
    const start = (executor: Executor = cluster.replica()): ReturnType<typeof world.replica> =>
      world.replica(executor, { recovery: world.ledger, objects: world.objects, config: { maxRuns: 2 } });
    const succeeded = async (): Promise<number> => (await world.ledger.counts()).succeeded;
    const restored = (): Promise<true | undefined> =>
      eventually('the ledger to be restored', () =>
        world.ledger.isIntact().then((intact) => intact || undefined),
      );

    test('a ledger that was emptied gets back what ended, what is under way and what waits, and nothing runs twice', async () => {
      const quick = await world.define({ name: 'quick' });
      const slow = await world.define({ name: 'slow' });
      await Promise.all([start(), start()]);
      await restored();
      const ended = await world.claim(quick, 5);
      await eventually('them to end', async () => (await succeeded()) === 5);
      const open = await world.claim(slow, 7);
      await eventually('two to be under way', () => cluster.started.length === 7);
      await eventually(
        'start messages to be on the bus',
        async () => (await world.ledger.readOutbox(10)).length === 0,
      );
      const before = await world.ledger.get(ended[0] ?? '');
      await world.ledger.forget();
      await restored();
      expect(await world.ledger.claimed([...ended, ...open])).toEqual(Array.from({ length: 12 }, () => true));
      expect(await world.ledger.get(ended[0] ?? '')).toMatchObject({
        state: 'succeeded',
        attempt: 1,
        exit_code: 0,
        service_uid: quick.uid,
        event: before?.event,
      });
      expect(await world.ledger.counts()).toMatchObject({ succeeded: 5, queued: 5 });
      // Claimed again by whoever lists the bucket: nothing new.
      await world.claimIds(slow, open);
      gate.resolve();
      await eventually('all to end', async () => (await succeeded()) === 12);
      expect(cluster.started).toHaveLength(12);
      expect(cluster.started.every((attempt) => attempt.endsWith('.1'))).toBe(true);
      expect(await world.bus.deadLetters.count()).toBe(0);
    });

    test('a run that waited for another attempt waits for it again, though its message was lost', async () => {
      let failures = 1;
      const gateOpen = Promise.withResolvers<void>();
      outcomeOf = () => {
        if (failures === 0) return done;
        failures -= 1;
        return { result: 'failed', script_started: true, exit_code: 1, outputs: [] };
      };
      const stored = await world.define({ name: 'flaky', sluice: { script_retries: 1 } });
      const executor = cluster.replica();
      // The report does not come through before the ledger is gone, and the cluster has forgotten the attempt.
      const { onReport } = executor;
      executor.onReport = (listener) => {
        onReport(async (report) => {
          await gateOpen.promise;
          await listener(report);
        });
      };
      await start(executor);
      await restored();
      const [id = ''] = await world.claim(stored, 1);
      const key = outcomeKey({ service: 'flaky', runId: id, attempt: 1 });
      await eventually(
        'its outcome',
        async () => (await world.objects.head(SYSTEM_BUCKET, key)) !== undefined,
      );
      cluster.lose(id);
      await world.ledger.forget();
      gateOpen.resolve();
      const run = await eventually('its second attempt', async () => {
        if (!(await world.ledger.isIntact())) return undefined;
        const found = await world.ledger.get(id);
        return found?.state === 'succeeded' ? found : undefined;
      });
      expect(run.attempt).toBe(2);
      expect(cluster.started).toEqual([`${id}.1`, `${id}.2`]);
    });

    test('a run that was cancelled while it waited, and one that was given up, are not run after all', async () => {
      const slow = await world.define({ name: 'slow' });
      const bad = await world.define({ name: 'bad' });
      const executor = cluster.replica();
      executor.beforeStart = async (plan) => {
        if (plan.definition.name === 'bad') throw new AppError('unprocessable', 'the image name is wrong');
      };
      await start(executor);
      await restored();
      const [failing = ''] = await world.claim(bad, 1);
      await eventually('it to fail', async () => (await world.ledger.get(failing))?.state === 'failed');
      const open = await world.claim(slow, 3);
      await eventually('two to be under way', () => cluster.started.length === 2);
      const waits = open.find((id) => !cluster.started.includes(`${id}.1`)) ?? '';
      const payload = { run_id: waits, service: 'slow', reason: 'enough' };
      await world.bus.publish([{ id: `${waits}.cancel`, name: 'runs.cancel', key: 'slow', payload }]);
      for (const [service, runId] of [
        ['slow', waits],
        ['bad', failing],
      ] as const) {
        const key = outcomeKey({ service, runId, attempt: 1 });
        await eventually(
          'its outcome',
          async () => (await world.objects.head(SYSTEM_BUCKET, key)) !== undefined,
        );
      }
      await world.ledger.forget();
      await restored();
      expect(await world.ledger.get(waits)).toMatchObject({ state: 'cancelled', attempt: 1 });
      expect(await world.ledger.get(failing)).toMatchObject({ state: 'failed', attempt: 1 });
      await world.claimIds(slow, [waits]);
      gate.resolve();
      await eventually('the others to end', async () => (await succeeded()) === 2);
      expect(cluster.started).toHaveLength(2);
    });

    test('while the cluster cannot be asked everything stands still, and goes on afterwards', async () => {
      const stored = await world.define({ name: 'quick' });
      const executor = cluster.replica();
      const { carriedRuns } = executor;
      let asked = 0;
      executor.carriedRuns = async function* away() {
        asked += 1;
        if (asked < 4) throw new AppError('unavailable', 'The cluster is away.');
        yield* carriedRuns?.() ?? [];
      };
      await start(executor);
      await expect(world.claim(stored, 1)).rejects.toMatchObject({ code: 'unavailable' });
      await restored();
      expect(asked).toBe(4);
      await world.claim(stored, 3);
      await eventually('them to end', async () => (await succeeded()) === 3);
    });

    test('what a supervisor did not write is no outcome', async () => {
      const stored = await world.define({ name: 'quick' });
      const put = (runId: string, text: string): Promise<unknown> =>
        world.objects.put(
          SYSTEM_BUCKET,
          outcomeKey({ service: 'quick', runId, attempt: 1 }),
          Buffer.from(text),
        );
      const foreign: OutcomeRecord = {
        outcome: done,
        run: { ...waiting('quick-other', 'other'), service_uid: stored.uid },
        ended_at: clock.now(),
      };
      await put('quick-junk', '{"outcome":');
      await put('quick-large', 'x'.repeat(2 ** 20 + 1));
      await put('quick-foreign', JSON.stringify(foreign));
      await world.objects.put(SYSTEM_BUCKET, 'runs/quick/quick-note/notes.txt', Buffer.from('hello'));
      await start();
      await restored();
      // Claims all the same: something of that name has been run.
      const ids = ['quick-junk', 'quick-large', 'quick-foreign', 'quick-note', 'quick-other'];
      expect(await world.ledger.claimed(ids)).toEqual([true, true, true, false, false]);
      expect(await world.ledger.get('quick-foreign')).toBeUndefined();
      expect(await world.ledger.get('quick-other')).toBeUndefined();
    });
  });
}

function waiting(id: string, service: string): Omit<Run, 'service_uid'> {
  return {
    id,
    service,
    state: 'starting',
    attempt: 1,
    source: 'job',
    event: { kind: 'inline', encoding: 'utf8', data: '' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    hop: 0,
    created_at: 1,
    infra_failures: 0,
    script_failures: 0,
    timeline: [],
  };
}
