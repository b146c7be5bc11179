import type { AttemptOutcome, AttemptPlan, Run, ServiceDefinition } from '@sluice/shared/contracts';
import { eventually } from '@sluice/shared/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { planOf } from '../plan.ts';
import {
  bench,
  keyOf,
  kubeWorld,
  sharedBench,
  type Bench,
  type KubeWorld,
  type Shared,
} from './kube-world.ts';

function planWith(script: string, more: Partial<ServiceDefinition> = {}): AttemptPlan {
  const plan = planOf(script);
  return { ...plan, definition: { ...plan.definition, cpu: '0.05', memory: '32Mi', ...more } };
}

describe.each(['baseline', 'restricted'] as const)('Jobs in a namespace that enforces %s', (level) => {
  let world: KubeWorld;
  let shared: Shared;
  const benches: Bench[] = [];
  const user: Partial<ServiceDefinition> = level === 'restricted' ? { sluice: { run_as: '1234' } } : {};
  const plan = (script: string, more: Partial<ServiceDefinition> = {}): AttemptPlan =>
    planWith(script, { ...user, ...more });

  beforeAll(async () => {
    world = await kubeWorld(level);
  });
  afterAll(async () => {
    await world.close();
  });
  beforeEach(() => {
    shared = sharedBench();
  });
  afterEach(async () => {
    await Promise.all(benches.splice(0).map(({ executor }) => executor.stop(1000)));
    await world.batch.deleteCollectionNamespacedJob({
      namespace: world.namespace,
      propagationPolicy: 'Background',
    });
    await world.core.deleteCollectionNamespacedPod({ namespace: world.namespace, gracePeriodSeconds: 0 });
  });

  const make = (more: Parameters<typeof bench>[2] = {}): Bench => {
    const made = bench(world, shared, more);
    benches.push(made);
    return made;
  };
  const podOf = async (of: AttemptPlan, phase: string): Promise<string> => {
    const name = await eventually(
      `a pod that is ${phase}`,
      async () =>
        (await world.pods()).find(
          ({ metadata, status }) =>
            metadata?.labels?.['sluice.internal/run'] === of.run_id && status?.phase === phase,
        )?.metadata?.name,
      60_000,
    );
    return name;
  };
  const cancelled = (message: string): Partial<AttemptOutcome> => ({
    result: 'cancelled',
    failure: { code: 'cancelled', message },
  });

  test('an attempt runs, under the user that is wished for, and its exit code is seen', async () => {
    const one = make();
    const started = await one.start(plan('exit $(( $(id -u) % 1000 + 7 ))'));
    expect(await one.executor.attempts()).toEqual([{ run_id: started.run_id, attempt: 1 }]);
    const exitCode = level === 'restricted' ? 241 : 7;
    expect(await one.outcomeOf(started)).toMatchObject({
      result: 'failed',
      exit_code: exitCode,
      failure: { code: 'script_failed' },
    });
    await eventually('it to be forgotten', async () => (await one.executor.attempts()).length === 0);
    expect(one.notes).toEqual([]);
  });

  test('another executor goes on with what one left, and cancels it', async () => {
    const first = make();
    const started = await first.start(plan('sleep 600'));
    await podOf(started, 'Running');
    await first.executor.stop(1000);
    const second = make();
    const ref = { run_id: started.run_id, attempt: 1 };
    expect(await second.executor.attempts()).toEqual([ref]);
    await second.executor.cancel(ref, 'asked to');
    expect(await second.outcomeOf(started)).toMatchObject(cancelled('asked to'));
    const left = (await world.pods()).filter(
      ({ metadata, status }) =>
        metadata?.labels?.['sluice.internal/run'] === started.run_id &&
        // One that has ended may still be shown for a moment.
        !['Failed', 'Succeeded'].includes(status?.phase ?? ''),
    );
    expect(left).toEqual([]);
    expect(first.reports).toEqual([]);
  });

  test('two executors that start one attempt at once make one Job', async () => {
    const pair = [make(), make()];
    const wanted = plan('exit 9');
    await Promise.all(pair.map((one) => one.start(wanted)));
    const jobs = (await world.jobs()).filter(
      ({ metadata }) => metadata?.labels?.['sluice.internal/run'] === wanted.run_id,
    );
    expect(jobs).toHaveLength(1);
    const finished = await eventually(
      'an outcome',
      () => pair.flatMap(({ reports }) => reports).find(({ kind }) => kind === 'finished'),
      60_000,
    );
    expect(finished).toMatchObject({ outcome: { result: 'failed', exit_code: 9 } });
  });

  test('a pod that somebody deletes is a lost attempt', async () => {
    const one = make();
    const started = await one.start(plan('sleep 600'));
    shared.standing.set(keyOf(started), 'running');
    const name = await podOf(started, 'Running');
    await world.core.deleteNamespacedPod({ name, namespace: world.namespace, gracePeriodSeconds: 0 });
    expect(await one.outcomeOf(started)).toMatchObject({ result: 'lost', script_started: true });
  });

  test('so is a Job that somebody deletes, once its pod has gone', async () => {
    const one = make();
    const started = await one.start(plan('sleep 600'));
    await podOf(started, 'Running');
    const [job] = await world.jobs();
    await world.batch.deleteNamespacedJob({
      name: job?.metadata?.name ?? '',
      namespace: world.namespace,
      propagationPolicy: 'Background',
    });
    expect(await one.outcomeOf(started)).toMatchObject({
      result: 'lost',
      script_started: false,
      failure: { message: 'its Job was deleted while the attempt was under way' },
    });
    const alive = (await world.pods()).filter(({ status }) => status?.phase === 'Running');
    expect(alive).toEqual([]);
  });

  test('out of memory is said with the limit', async () => {
    const one = make();
    const started = await one.start(plan('a=xxxxxxxx; while :; do a=$a$a; done'));
    expect(await one.outcomeOf(started)).toMatchObject({
      result: 'failed',
      exit_code: 137,
      failure: { code: 'out_of_memory', message: 'out of memory at its limit of 32Mi' },
    });
  });

  test('an image that is not there is said on the time line, and given up after a while', async () => {
    const one = make();
    const started = await one.start(plan('true', { image: '127.0.0.1:5000/nowhere/nothing:1' }));
    const outcome = await one.outcomeOf(started);
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      failure: { code: 'not_started' },
    });
    expect(outcome.failure?.message).toMatch(
      /^the image 127\S+ of the service cannot be pulled: .*not found/,
    );
    expect(one.notes[0]).toContain('cannot be pulled');
    await eventually('its Job to be removed', async () => (await world.jobs()).length === 0, 30_000);
  });

  test('an image name that is none is given up at once', async () => {
    const one = make({ timing: { graceMs: 500, tickMs: 300 } });
    const started = await one.start(plan('true', { image: 'Not/An:Image:Name' }));
    const outcome = await one.outcomeOf(started);
    expect(outcome.failure?.message).toBe('the image of the service has an invalid name: Not/An:Image:Name');
  });

  test('an image without a shell is said to be one', async () => {
    const one = make({ shell: '/no/such/shell' });
    const outcome = await one.outcomeOf(await one.start(plan('true')));
    expect(outcome).toMatchObject({ result: 'failed', failure: { code: 'not_started' } });
    expect(outcome.failure?.message).toMatch(/^its container cannot be started: .*\/no\/such\/shell/s);
  });

  test('an attempt that fits nowhere waits, says so, and can be cancelled', async () => {
    const one = make();
    const started = await one.start(plan('true', { cpu: '1000' }));
    await eventually('a note', () => one.notes[0]?.startsWith('waits for a node: '), 30_000);
    await one.executor.cancel(started, 'no longer');
    expect(await one.outcomeOf(started)).toMatchObject(cancelled('no longer'));
  });

  test('pods that wait are bounded over all executors', async () => {
    const one = make({ maxPending: 1 });
    const other = make({ maxPending: 1 });
    const started = await one.start(plan('true', { cpu: '1000' }));
    const wanted = { cpuMillis: 1, memoryBytes: 1 };
    await eventually('the other to see it', async () => {
      const reservation = await other.executor.reserve(wanted);
      reservation?.release();
      return reservation === undefined;
    });
    expect(await one.executor.reserve(wanted)).toBeUndefined();
    let told = 0;
    one.executor.onRoom(() => {
      told += 1;
    });
    await one.executor.cancel(started, 'x');
    await eventually(
      'room',
      async () => {
        const reservation = await one.executor.reserve(wanted);
        reservation?.release();
        return reservation !== undefined;
      },
      30_000,
    );
    expect(told).toBeGreaterThan(0);
  });

  test('what a supervisor wrote is its outcome, whatever the pod looks like', async () => {
    const outcome: AttemptOutcome = { result: 'succeeded', script_started: true, exit_code: 0, outputs: [] };
    const asked: unknown[] = [];
    const one = make({
      readOutcome: (ref) => {
        asked.push(ref);
        return Promise.resolve({ outcome, ended_at: 1 });
      },
    });
    const started = await one.start(plan('exit 0'));
    expect(await one.outcomeOf(started)).toEqual(outcome);
    expect(asked[0]).toEqual({ run_id: started.run_id, attempt: 1, service: 'demo' });
  });

  test('what ended and was reported by itself is not reported again', async () => {
    const one = make({ timing: { graceMs: 500, tickMs: 300 } });
    const started = await one.start(plan('exit 0'));
    shared.standing.set(keyOf(started), 'over');
    await podOf(started, 'Succeeded');
    await eventually('it to be forgotten', async () => (await one.executor.attempts()).length === 0, 30_000);
    expect(one.reports).toEqual([]);
  });

  test('a Job that nobody wants any more is removed', async () => {
    const one = make();
    const started = await one.start(plan('sleep 600'));
    shared.standing.set(keyOf(started), 'over');
    await eventually('its Job to be gone', async () => (await world.jobs()).length === 0, 60_000);
    expect(one.reports).toEqual([]);
  });

  test('a Job whose run the ledger does not know is left alone, and tells the run', async () => {
    const one = make();
    const wanted = plan('sleep 600');
    shared.standing.set(keyOf(wanted), 'unknown');
    const run: Run = {
      id: wanted.run_id,
      service: 'demo',
      service_uid: 'uid',
      state: 'starting',
      attempt: 1,
      source: 'job',
      event: wanted.event,
      traceparent: wanted.traceparent,
      hop: 0,
      created_at: 1,
      infra_failures: 0,
      script_failures: 0,
      timeline: [],
    };
    const reservation = await eventually('room', () =>
      one.executor.reserve({ cpuMillis: 1, memoryBytes: 1 }),
    );
    await one.executor.start(wanted, reservation, run);
    const carried: Run[] = [];
    for await (const found of one.executor.carriedRuns()) carried.push(found);
    expect(carried).toEqual([run]);
    expect(await world.jobs()).toHaveLength(1);
  });
});

describe('what a namespace refuses', () => {
  test('a pod that its Pod Security level denies is said and given up', async () => {
    const world = await kubeWorld('restricted');
    const one = bench(world, sharedBench());
    try {
      const started = await one.start(planWith('true'));
      const outcome = await one.outcomeOf(started);
      expect(outcome.failure?.message).toMatch(/^its pod is refused: .*violates PodSecurity "restricted/);
      expect(one.executor.ignores(started.definition)).toContainEqual(
        expect.stringContaining('Pod Security "baseline"'),
      );
    } finally {
      await one.executor.stop(1000);
      await world.close();
    }
  });

  test('a quota of pods is waited for, one of Jobs fails the run with its words', async () => {
    const world = await kubeWorld('baseline');
    const one = bench(world, sharedBench());
    const quota = (name: string, hard: Record<string, string>): Promise<unknown> =>
      world.core.createNamespacedResourceQuota({
        namespace: world.namespace,
        body: { metadata: { name }, spec: { hard } },
      });
    try {
      await quota('pods', { pods: '0' });
      const waiting = await one.start(planWith('exit 4'));
      await eventually('a note', () => one.notes[0]?.startsWith('its pod is refused: '), 40_000);
      expect(one.notes[0]).toContain('exceeded quota: pods');
      await quota('jobs', { 'count/jobs.batch': '0' });
      const refused = await eventually(
        'the quota to be in force',
        async () => {
          const next = await one.start(planWith('true'));
          const jobs = await world.jobs();
          return jobs.some(({ metadata }) => metadata?.labels?.['sluice.internal/run'] === next.run_id)
            ? undefined
            : next;
        },
        30_000,
      );
      const outcome = await one.outcomeOf(refused);
      expect(outcome).toMatchObject({ result: 'failed', script_started: false });
      expect(outcome.failure?.message).toMatch(/^Kubernetes refused: .*exceeded quota: jobs/);
      expect(one.reports.some(({ run_id: id }) => id === waiting.run_id)).toBe(false);
    } finally {
      await one.executor.stop(1000);
      await world.close();
    }
  });
});
