import type { AttemptOutcome, AttemptReport, OutcomeRecord } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { podView, type JobView, type PodView } from '../domain/kube-views.ts';
import { createKubeAttempts } from './kube-attempts.ts';
import { createJudge, type AttemptStanding, type JudgeDeps } from './kube-judge.ts';

const ref = { run_id: 'demo-1', attempt: 1 };

function courtOf(more: Partial<JudgeDeps> = {}) {
  const clock = fakeClock();
  const reports: AttemptReport[] = [];
  const stopping = new AbortController();
  const judge = createJudge({
    standingOf: () => Promise.resolve<AttemptStanding>('running'),
    readOutcome: () => Promise.resolve<OutcomeRecord | undefined>(undefined),
    report: (report) => {
      reports.push(report);
      return Promise.resolve();
    },
    isCurrent: () => true,
    isFirst: () => true,
    clock,
    log: silentLogger(),
    graceMs: 2000,
    unreachableMs: 600_000,
    signal: stopping.signal,
    ...more,
  });
  // An attempt whose Job and pod have gone.
  const attempt = createKubeAttempts(
    () => undefined,
    () => undefined,
  ).open(ref, 'demo');
  const wait = async (ms: number): Promise<void> => {
    await eventually('it to wait', () => clock.sleepers() === 1);
    clock.advance(ms);
  };
  return { judge, attempt, clock, reports, wait, stopping };
}

const lost: Partial<AttemptOutcome> = { result: 'lost', script_started: true };

test('a report gets its time to arrive before the cluster is believed', async () => {
  const { judge, attempt, reports, wait, clock } = courtOf();
  judge.look(attempt);
  judge.look(attempt);
  await wait(1999);
  expect(clock.sleepers()).toBe(1);
  await wait(1);
  await judge.idle();
  expect(reports).toEqual([
    { kind: 'finished', ...ref, outcome: expect.objectContaining(lost) as AttemptOutcome },
  ]);
  judge.look(attempt);
  await judge.idle();
  expect(reports).toHaveLength(1);
});

test('other replicas leave it to the first', async () => {
  const { judge, attempt, reports, wait } = courtOf({ isFirst: () => false });
  judge.look(attempt);
  await wait(9999);
  expect(reports).toEqual([]);
  await wait(1);
  await judge.idle();
  expect(reports).toHaveLength(1);
});

test.each<AttemptStanding>(['over', 'unknown'])('an attempt that is %s is let go', async (standing) => {
  const { judge, attempt, reports, wait } = courtOf({ standingOf: () => Promise.resolve(standing) });
  judge.look(attempt);
  await wait(2000);
  await judge.idle();
  expect(attempt.settled).toBe(true);
  expect(reports).toEqual([]);
});

test('a ledger, a store or a listener that is away is asked again', async () => {
  const away = new AppError('unavailable', 'away');
  const fails = { standing: 1, outcome: 1, report: 1 };
  const reports: AttemptReport[] = [];
  const { judge, attempt, wait } = courtOf({
    standingOf: () => (fails.standing-- > 0 ? Promise.reject(away) : Promise.resolve('starting')),
    readOutcome: () => (fails.outcome-- > 0 ? Promise.reject(away) : Promise.resolve(undefined)),
    report: (report) => {
      if (fails.report-- > 0) return Promise.reject(away);
      reports.push(report);
      return Promise.resolve();
    },
  });
  judge.look(attempt);
  for (const ms of [2000, 500, 1000, 2000]) await wait(ms);
  await judge.idle();
  expect(reports).toHaveLength(1);
});

test('nothing is concluded from what may be out of date', async () => {
  let asked = 0;
  const { judge, attempt, reports, wait } = courtOf({
    isCurrent: () => {
      asked += 1;
      return asked > 1;
    },
  });
  judge.look(attempt);
  await wait(2000);
  await eventually('it to be asked', () => asked === 1);
  expect(reports).toEqual([]);
  await wait(500);
  await judge.idle();
  expect(reports).toHaveLength(1);
});

test('a cancelled attempt is cancelled, and one with a verdict has that, at once', async () => {
  const cancelled = courtOf();
  cancelled.attempt.cancelReason = 'asked to';
  cancelled.judge.look(cancelled.attempt);
  await cancelled.wait(2000);
  await cancelled.judge.idle();
  expect(cancelled.reports).toMatchObject([
    { outcome: { result: 'cancelled', failure: { code: 'cancelled', message: 'asked to' } } },
  ]);

  const judged = courtOf();
  const verdict: AttemptOutcome = { result: 'failed', script_started: false, outputs: [] };
  judged.attempt.verdict = verdict;
  judged.judge.look(judged.attempt);
  await judged.judge.idle();
  expect(judged.reports).toMatchObject([{ outcome: verdict }]);
});

test('of a pod that was asked to end, the cluster says why: a full disk is the script’s doing, and a script may ask by itself', async () => {
  const failure = { code: 'planned_stop', message: 'the pod was asked to end' };
  const outcome: AttemptOutcome = { result: 'lost', script_started: true, outputs: [], failure };
  const settled = async (pod: Partial<PodView>, reason?: string): Promise<unknown> => {
    const court = courtOf({ readOutcome: () => Promise.resolve({ outcome, ended_at: 0 }) });
    const view = podView(endedPod) ?? fail();
    court.attempt.job = { state: 'ended', reason } as JobView;
    court.attempt.lastPod = { ...view, ...pod };
    court.attempt.pods.set(view.name, court.attempt.lastPod);
    court.judge.look(court.attempt);
    await court.wait(2000);
    await court.judge.idle();
    const [report] = court.reports;
    return report?.kind === 'finished' ? report.outcome.failure?.code : report;
  };
  expect(await settled({ dueAt: 5 })).toBe('planned_stop');
  expect(await settled({ reason: 'Evicted', message: 'low on resource: memory' })).toBe('planned_stop');
  const full = 'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ';
  expect(await settled({ reason: 'Evicted', message: full })).toBe('out_of_disk');
  expect(await settled({})).toBe('lost');
  expect(await settled({ dueAt: 5 }, 'DeadlineExceeded')).toBe('timed_out');
});

function fail(): never {
  throw new Error('this is no pod of ours');
}

const endedPod = {
  metadata: {
    name: 'demo-1-x',
    labels: {
      'sluice.internal/run': 'demo-1',
      'sluice.internal/attempt': '1',
      'sluice.internal/service': 'demo',
    },
  },
  spec: { containers: [{ name: 'oscar-container', image: 'busybox' }] },
  status: {
    phase: 'Failed',
    containerStatuses: [
      {
        name: 'oscar-container',
        image: 'busybox',
        state: { terminated: { exitCode: 143, reason: 'Error' } },
      },
    ],
  },
};

test('a stop ends all waiting', async () => {
  const { judge, attempt, reports, stopping } = courtOf();
  judge.look(attempt);
  stopping.abort();
  await judge.idle();
  expect(reports).toEqual([]);
  expect(attempt.settled).toBe(false);
});
