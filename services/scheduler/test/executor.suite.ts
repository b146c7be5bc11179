import type { AttemptOutcome, AttemptPlan, AttemptReport } from '@sluice/shared/contracts';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Executor, Reservation } from '../src/index.ts';
import { planOf } from './plan.ts';

export interface ExecutorHarness {
  readonly executor: Executor;
  /** Ends everything, whatever the test left. */
  close(): Promise<void>;
}

const small = { cpuMillis: 100, memoryBytes: 16 * 2 ** 20 };

/**
 * What every executor keeps to, with real scripts.
 * @param make an executor with room for at least two small attempts
 */
export function describeExecutor(name: string, make: () => Promise<ExecutorHarness>): void {
  describe(`executor: ${name}`, () => {
    let harness: ExecutorHarness;
    let reports: AttemptReport[];

    beforeEach(async () => {
      harness = await make();
      reports = [];
      harness.executor.onReport((report) => {
        reports.push(report);
        return Promise.resolve();
      });
    });
    afterEach(async () => {
      await harness.close();
    });

    const reserve = async (): Promise<Reservation> => {
      const reservation = await harness.executor.reserve(small);
      if (reservation === undefined) throw new Error('expected room');
      return reservation;
    };
    const start = async (plan: AttemptPlan): Promise<AttemptPlan> => {
      await harness.executor.start(plan, await reserve());
      return plan;
    };
    const outcomeOf = (plan: AttemptPlan): Promise<AttemptOutcome> =>
      eventually(
        `the outcome of ${plan.run_id}`,
        () =>
          reports.find((report) => report.kind === 'finished' && report.run_id === plan.run_id) as
            Extract<AttemptReport, { kind: 'finished' }> | undefined,
        60_000,
      ).then((report) => report.outcome);
    const running = (plan: AttemptPlan): Promise<unknown> =>
      eventually(
        `${plan.run_id} to run`,
        () =>
          reports.some(
            (one) => one.kind === 'progress' && one.phase === 'running' && one.run_id === plan.run_id,
          ),
        60_000,
      );

    test('a script that ends well has succeeded, once, after it was said to run', async () => {
      const plan = await start(planOf('true\n'));
      expect(await outcomeOf(plan)).toMatchObject({
        result: 'succeeded',
        script_started: true,
        exit_code: 0,
      });
      const kinds = reports.map((report) => (report.kind === 'finished' ? 'finished' : report.phase));
      expect(kinds.filter((kind) => kind === 'finished')).toEqual(['finished']);
      expect(kinds.indexOf('running')).toBeLessThan(kinds.indexOf('finished'));
      await eventually(
        'it to be forgotten',
        async () => (await harness.executor.attempts()).length === 0,
        60_000,
      );
    });

    test("a script's exit code is its outcome", async () => {
      const outcome = await outcomeOf(await start(planOf('echo sorry; exit 7\n')));
      expect(outcome).toMatchObject({ result: 'failed', exit_code: 7, failure: { code: 'script_failed' } });
      expect(outcome.failure?.message).toContain('sorry');
    });

    test('a time-out ends it', async () => {
      const outcome = await outcomeOf(await start({ ...planOf('sleep 600\n'), timeout_ms: 300 }));
      expect(outcome).toMatchObject({ result: 'failed', failure: { code: 'timed_out' } });
    });

    test('it can be cancelled, known by name while it runs', async () => {
      const plan = await start(planOf('sleep 600\n'));
      await running(plan);
      const ref = { run_id: plan.run_id, attempt: plan.attempt };
      expect(await harness.executor.attempts()).toContainEqual(ref);
      await harness.executor.cancel(ref, 'asked to');
      expect(await outcomeOf(plan)).toMatchObject({ result: 'cancelled', failure: { message: 'asked to' } });
    });

    test('cancelling what is not there does nothing', async () => {
      await expect(harness.executor.cancel({ run_id: 'nobody', attempt: 1 }, 'x')).resolves.toBeUndefined();
    });

    test('starting an attempt twice is one attempt', async () => {
      const plan = planOf('true\n');
      await Promise.all([start(plan), start(plan)]);
      await outcomeOf(plan);
      const after = await start(planOf('true\n'));
      await outcomeOf(after);
      expect(reports.filter((one) => one.kind === 'finished' && one.run_id === plan.run_id).length).toBe(1);
    });

    test('room comes back, used or not', async () => {
      for (let round = 0; round < 20; round += 1) (await reserve()).release();
      for (let round = 0; round < 3; round += 1) await outcomeOf(await start(planOf('true\n')));
      await eventually('room', async () => {
        const reservation = await harness.executor.reserve(small);
        reservation?.release();
        return reservation !== undefined;
      });
    });

    test('stopping ends what runs as lost, to be run again, unless others follow it', async () => {
      const plan = await start(planOf('sleep 600\n'));
      await running(plan);
      await harness.executor.stop(50);
      if (harness.executor.shared) {
        const finished = reports.filter((one) => one.kind === 'finished' && one.run_id === plan.run_id);
        expect(finished).toEqual([]);
        return;
      }
      expect(await outcomeOf(plan)).toMatchObject({ result: 'lost', script_started: true });
    });
  });
}
