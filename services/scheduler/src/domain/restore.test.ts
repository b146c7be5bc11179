import type { AttemptOutcome, Run } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { restoredRun, waitingRun } from './restore.ts';

const run: Run = {
  id: 'demo-1',
  service: 'demo',
  service_uid: 'uid',
  service_version: 3,
  state: 'running',
  attempt: 2,
  source: 'job',
  event: { kind: 'inline', encoding: 'utf8', data: '' },
  traceparent: '',
  hop: 0,
  created_at: 10,
  started_at: 20,
  infra_failures: 1,
  script_failures: 0,
  timeline: [{ at: 10, attempt: 1, state: 'queued' }],
};
const failed: AttemptOutcome = {
  result: 'failed',
  script_started: true,
  exit_code: 3,
  failure: { code: 'script_failed', message: 'exit code 3' },
  outputs: [],
};

test('a run that ended is as its outcome left it', () => {
  const restored = restoredRun({ outcome: failed, ended_at: 99 }, run, {});
  expect(restored).toMatchObject({
    state: 'failed',
    attempt: 2,
    exit_code: 3,
    failure: { code: 'script_failed' },
    started_at: 20,
    finished_at: 99,
    infra_failures: 1,
  });
  expect(restored.timeline.at(-1)).toMatchObject({ at: 99, attempt: 2, state: 'failed' });
});

test('a run that was to have another attempt waits for it', () => {
  const restored = restoredRun({ outcome: failed, ended_at: 99 }, run, { script_retries: 1 });
  expect(restored).toMatchObject({ state: 'queued', attempt: 3, script_failures: 1, infra_failures: 1 });
  expect(restored).not.toHaveProperty('started_at');
  expect(restored).not.toHaveProperty('exit_code');
});

test('a time line stays within its bounds', () => {
  const timeline = Array.from({ length: 50 }, (_, at) => ({ at, attempt: 1, state: 'queued' as const }));
  const restored = restoredRun({ outcome: failed, ended_at: 99 }, { ...run, timeline }, {});
  expect(restored.timeline).toHaveLength(50);
  expect(restored.timeline.at(-1)?.at).toBe(99);
});

test('a start message brings back a run that waits for its attempt', () => {
  expect(waitingRun({ ...run, timeline: [] }, 2)).toMatchObject({
    state: 'queued',
    attempt: 2,
    timeline: [{ at: 10, attempt: 2, state: 'queued' }],
  });
});
