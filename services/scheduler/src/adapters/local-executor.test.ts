import type { AttemptOutcome, AttemptPlan, AttemptReport } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import type { RunLogs } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { expect, test } from 'vitest';
import type { PerformAttempt, Reservation } from '../ports.ts';
import { createLocalExecutor } from './local-executor.ts';

const noLogs: RunLogs = {
  open: () =>
    Promise.resolve({
      write: () => Promise.resolve(),
      close: () => Promise.resolve({ bytes: 0, dropped: 0 }),
    }),
  read: () => Promise.resolve(undefined),
  remove: () => Promise.resolve(),
};

function executor(perform: PerformAttempt) {
  const reports: AttemptReport[] = [];
  const made = createLocalExecutor({
    kind: 'process',
    perform,
    logs: noLogs,
    workRoot: '/unused',
    capacity: { cpuMillis: 2000, memoryBytes: 1000 },
    slots: 3,
    clock: systemClock,
    log: silentLogger(),
  });
  made.onReport((report) => {
    reports.push(report);
    return Promise.resolve();
  });
  return { made, reports };
}

const plan = (id: string): AttemptPlan =>
  ({ run_id: id, attempt: 1, traceparent: '', definition: { name: 'demo', image: '' } }) as AttemptPlan;

async function room(made: ReturnType<typeof executor>['made'], cpuMillis = 1000): Promise<Reservation> {
  const reservation = await made.reserve({ cpuMillis, memoryBytes: 100 });
  if (reservation === undefined) throw new Error('expected room');
  return reservation;
}

const succeeded: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };

test('reserves no more than the machine has, and a giant gets all of it', async () => {
  const { made } = executor(() => Promise.resolve(succeeded));
  expect(made.reserved()).toEqual({ cpuMillis: 0, memoryBytes: 0 });
  const giant = await room(made, 64_000);
  expect(made.reserved().cpuMillis).toBeGreaterThan(0);
  expect(await made.reserve({ cpuMillis: 1, memoryBytes: 1 })).toBeUndefined();
  giant.release();
  giant.release();
  expect(made.reserved()).toEqual({ cpuMillis: 0, memoryBytes: 0 });
  const places = await Promise.all([room(made, 500), room(made, 500), room(made, 500)]);
  expect(await made.reserve({ cpuMillis: 1, memoryBytes: 1 })).toBeUndefined();
  for (const place of places) place.release();
});

test('reports the outcome and frees the room afterwards', async () => {
  const { made, reports } = executor(() => Promise.resolve(succeeded));
  const freed = new Promise<void>((resolve) => {
    made.onRoom(resolve);
  });
  await made.start(plan('a'), await room(made));
  await freed;
  expect(reports).toEqual([{ kind: 'finished', run_id: 'a', attempt: 1, outcome: succeeded }]);
  expect(await made.attempts()).toEqual([]);
});

test('starting an attempt twice is one attempt', async () => {
  let performed = 0;
  const gate = Promise.withResolvers<AttemptOutcome>();
  const { made } = executor(() => {
    performed += 1;
    return gate.promise;
  });
  await made.start(plan('a'), await room(made, 100));
  await made.start(plan('a'), await room(made, 100));
  expect(performed).toBe(1);
  gate.resolve(succeeded);
  await made.stop(1000);
});

/** Ends when it is aborted, as the supervisor does. */
const untilAborted: PerformAttempt = (_plan, context) =>
  new Promise((resolve) => {
    context.report({ phase: 'running' });
    context.signal.addEventListener('abort', () => {
      resolve({ result: 'cancelled', script_started: true, outputs: [] });
    });
  });

test('a cancelled attempt carries the reason, a stopped one is lost and runs again', async () => {
  const { made, reports } = executor(untilAborted);
  await made.start(plan('a'), await room(made, 100));
  await made.start(plan('b'), await room(made, 100));
  await made.cancel({ run_id: 'a', attempt: 1 }, 'asked by ada');
  await made.cancel({ run_id: 'unknown', attempt: 1 }, 'asked by ada');
  await made.stop(10);
  const outcomes = reports.flatMap((report) =>
    report.kind === 'finished' ? [[report.run_id, report.outcome]] : [],
  );
  expect(Object.fromEntries(outcomes)).toMatchObject({
    a: { result: 'cancelled', failure: { code: 'cancelled', message: 'asked by ada' } },
    b: { result: 'lost', failure: { code: 'planned_stop' } },
  });
  await expect(made.start(plan('c'), { release: () => undefined })).rejects.toMatchObject({
    code: 'unavailable',
  });
});

test('a bug in the supervisor is a lost attempt, not a dead server', async () => {
  const { made, reports } = executor(() => Promise.reject(new TypeError('boom')));
  await made.start(plan('a'), await room(made));
  await made.stop(1000);
  expect(reports).toMatchObject([
    { kind: 'finished', outcome: { result: 'lost', failure: { code: 'executor_failed' } } },
  ]);
});
