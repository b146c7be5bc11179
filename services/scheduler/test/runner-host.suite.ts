import { runnerToken, type RunnerPlan } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Reservation, RunnerHost } from '../src/index.ts';
import { invokeRunner, reachable, runnerPlanOf, type RunnerAnswer } from './runner-calls.ts';

export interface RunnerHostHarness {
  readonly host: RunnerHost;
  /** Of the host's tokens. */
  readonly key: string;
  /** Until when a runner keeps its reservation; `started` where the room is the cluster's from then on. @default ended */
  readonly roomUntil?: 'started' | 'ended';
  /** Ends everything, whatever the test left. */
  close(): Promise<void>;
}

/**
 * What every host of runners keeps to, with real scripts and real HTTP calls.
 * @param make a host with places for at least four runners
 */
export function describeRunnerHost(name: string, make: () => Promise<RunnerHostHarness>): void {
  describe(`runner host: ${name}`, () => {
    let harness: RunnerHostHarness;
    let exits: string[];
    let released: number;

    beforeEach(async () => {
      harness = await make();
      exits = [];
      released = 0;
      harness.host.onExit((id) => void exits.push(id));
    });
    afterEach(async () => {
      await harness.close();
    });

    const reservation = (): Reservation => {
      let held = true;
      const release = (): void => {
        if (held) released += 1;
        held = false;
      };
      return { release };
    };
    const start = async (script: string): Promise<{ plan: RunnerPlan; url: string; token: string }> => {
      const plan = runnerPlanOf(script);
      const { url } = await harness.host.start(plan, reservation());
      return { plan, ...reachable(harness.key, plan.runner_id, url) };
    };
    const isListed = async (plan: RunnerPlan): Promise<boolean> =>
      (await harness.host.runners()).some((one) => one.runner_id === plan.runner_id);

    test('a runner takes one call after the other', async () => {
      const runner = await start('cat "$INPUT_FILE_PATH"; echo "$Http_X_Test" "$Http_Query"\n');
      expect(await isListed(runner.plan)).toBe(true);
      for (const body of ['{"a":1}', '{"b":2}']) {
        const answer = await invokeRunner(runner, { body });
        expect(answer).toMatchObject({ status: 200, result: 'succeeded' });
        expect(answer.text.trim()).toBe(`${body}yes a=1`);
      }
    });

    test('calls do not find the files of another', async () => {
      const runner = await start('ls -A | grep -v -e input -e output; touch here "$TMP_OUTPUT_DIR/x"\n');
      await invokeRunner(runner);
      const again = await start('ls -A | grep here; ls "$TMP_OUTPUT_DIR"; echo end\n');
      expect((await invokeRunner(again)).text.trim()).toBe('end');
      expect((await invokeRunner(again)).text.trim()).toBe('end');
    });

    test('a failed script is told with its exit status, and the runner goes on', async () => {
      const runner = await start('echo sorry; exit 7\n');
      for (let round = 0; round < 2; round += 1) {
        const answer = await invokeRunner(runner);
        expect(answer).toMatchObject({ status: 500, result: 'failed', text: 'exit status 7\nsorry\n' });
      }
    });

    test('while a call is in hand another is refused and not started', async () => {
      const runner = await start('sleep 1; echo done\n');
      const answers = await Promise.all([1, 2, 3].map(() => invokeRunner(runner)));
      const statuses = answers.map((one) => one.status).toSorted((a, b) => a - b);
      expect(statuses).toEqual([200, 429, 429]);
      expect(answers.filter((one) => one.status === 429).every((one) => one.result === null)).toBe(true);
    });

    test('only its own token opens a runner', async () => {
      const runner = await start('true\n');
      const other = await start('true\n');
      for (const token of ['x', other.token, runnerToken('another key', runner.plan.runner_id)]) {
        expect((await invokeRunner({ ...runner, token })).status).toBe(401);
      }
    });

    /** After a call was ended by force the runner works on, or it was said that it has ended. */
    const worksOrEnded = (runner: { plan: RunnerPlan; url: string; token: string }): Promise<unknown> =>
      eventually(
        'a runner that works or has ended',
        async () =>
          exits.includes(runner.plan.runner_id) ||
          // Between its end and the word of it nobody answers.
          (await invokeRunner(runner, { timeoutMs: 300 }).catch(() => undefined))?.result === 'timed_out',
        60_000,
      );

    test('a time-out ends the script', async () => {
      const runner = await start('sleep 600 & sleep 600\n');
      expect(await invokeRunner(runner, { timeoutMs: 300 })).toMatchObject({
        status: 408,
        result: 'timed_out',
        text: 'Killed process.\n',
      });
      await worksOrEnded(runner);
    });

    test('a caller that goes away ends the script', async () => {
      const runner = await start('sleep 600 & sleep 600\n');
      const abort = new AbortController();
      const call = invokeRunner(runner, { signal: abort.signal });
      const gone = expect(call).rejects.toThrow(/abort/i);
      await eventually(
        'the call to be in hand',
        async () => (await invokeRunner(runner)).status === 429,
        60_000,
      );
      abort.abort();
      await gone;
      await worksOrEnded(runner);
    });

    test('stopping lets the call in hand end, takes no other and gives the room back', async () => {
      const runner = await start('sleep 1; echo done\n');
      const call = invokeRunner(runner);
      await eventually(
        'the call to be in hand',
        async () => (await invokeRunner(runner)).status === 429,
        60_000,
      );
      const stopped = harness.host.stop(runner.plan.runner_id, 60_000);
      await eventually('other calls to be refused for good', () => refusal(invokeRunner(runner)));
      expect(released).toBe(harness.roomUntil === 'started' ? 1 : 0);
      expect((await call).text.trim()).toBe('done');
      await stopped;
      expect(released).toBe(1);
      expect(await isListed(runner.plan)).toBe(false);
      expect(await refusal(invokeRunner(runner))).toBe(true);
      expect(exits).toEqual([]);
    });

    test('a stop that has waited long enough ends the call', async () => {
      const runner = await start('sleep 600\n');
      const call = refusal(invokeRunner(runner));
      await eventually(
        'the call to be in hand',
        async () => (await invokeRunner(runner)).status === 429,
        60_000,
      );
      await harness.host.stop(runner.plan.runner_id, 100);
      expect(await call).toBe(true);
      expect(released).toBe(1);
    });

    test('starting an id twice is one runner, stopping what is not there does nothing', async () => {
      const plan = runnerPlanOf('echo one\n');
      const held = reservation();
      const [first, second] = await Promise.all([
        harness.host.start(plan, held),
        harness.host.start(plan, held),
      ]);
      expect(second).toEqual(first);
      expect((await harness.host.runners()).length).toBe(1);
      await harness.host.stop('nobody', 0);
      await Promise.all([harness.host.stop(plan.runner_id, 0), harness.host.stop(plan.runner_id, 0)]);
      expect(await harness.host.runners()).toEqual([]);
      expect(released).toBe(1);
    });

    test('a runner that is there is named with its service, and can be adopted', async () => {
      const runner = await start('echo one\n');
      const { runner_id, service_uid, service_version } = runner.plan;
      expect(await harness.host.runners()).toEqual([{ runner_id, service_uid, service_version }]);
      expect(await harness.host.adopt(runner_id, reservation())).toEqual({ url: runner.url });
      expect((await invokeRunner(runner)).text.trim()).toBe('one');
      const held = reservation();
      const missing = await harness.host.adopt('nobody', held).catch((error: unknown) => error);
      expect(isAppError(missing, 'not_found')).toBe(true);
      // Whoever's the refused one is by now.
      held.release();
      await harness.host.stop(runner_id, 0);
      expect(released).toBe(3);
    });

    test('leaving gives room back, and all can be begun anew', async () => {
      const left = await start('echo one\n');
      await harness.host.leave(1000);
      expect(released).toBe(1);
      expect(await isListed(left.plan)).toBe(harness.host.shared);
      const next = await start('echo two\n');
      expect((await invokeRunner(next)).text.trim()).toBe('two');
      expect(exits).toEqual([]);
    });

    test('closing ends all runners and starts no more', async () => {
      const runners = [await start('true\n'), await start('true\n')];
      await harness.host.close(1000);
      expect(released).toBe(2);
      for (const runner of runners) expect(await refusal(invokeRunner(runner))).toBe(true);
      const refused = await harness.host
        .start(runnerPlanOf('true\n'), reservation())
        .catch((error: unknown) => error);
      expect(isAppError(refused, 'unavailable')).toBe(true);
    });
  });
}

/** Nobody answers any more, or with 503. */
async function refusal(call: Promise<RunnerAnswer>): Promise<boolean> {
  try {
    return (await call).status === 503;
  } catch {
    return true;
  }
}
