import { describe, expect, it } from 'vitest';
import type { Run } from '../contracts/index.ts';
import { newRun } from '../testing/run-ledger-harness.ts';
import {
  acceptedRun,
  changed,
  courseOf,
  factsOf,
  noted,
  refusalOf,
  runOf,
  stateNumber,
} from './run-record.ts';

const accepted = (changes: Partial<Run> = {}): Run => ({ ...acceptedRun(newRun(), 1000), ...changes });

describe('an accepted run', () => {
  it.each([
    ['notification', 'accepted: upload of thumbnail/in/photo.jpg'],
    ['reconciler', 'accepted: thumbnail/in/photo.jpg was found in its bucket'],
    ['backfill', 'accepted: back-fill of thumbnail/in/photo.jpg'],
    ['job', 'accepted: a call of /job'],
    ['retry', 'accepted: retry of thumbnail-old'],
  ] as const)('of source %s says where it came from', (source, message) => {
    const run = acceptedRun(newRun({ source, retry_of: 'thumbnail-old' }), 1000);
    expect(run).toMatchObject({ state: 'queued', attempt: 1, created_at: 1000 });
    expect(run.timeline).toEqual([{ at: 1000, attempt: 1, state: 'queued', message }]);
  });

  it('is the same after it was stored', () => {
    const run = accepted({
      service_version: 4,
      attempt: 2,
      started_at: 5,
      finished_at: 6,
      exit_code: 1,
      failure: { code: 'c', message: 'm' },
      outputs: [],
      outputs_omitted: 2,
      cancel_requested_at: 3,
      user: 'me',
      retry_of: 'x',
      state: 'failed',
    });
    const stored = {
      seq: 1,
      state: stateNumber(run.state),
      attempt: run.attempt,
      service_version: 4,
      course: courseOf(run),
      facts: factsOf(run),
    };
    expect(runOf(stored)).toEqual(run);
  });
});

describe('a change', () => {
  const change = { id: 'x', from: ['queued', 'running'], to: 'starting' } as const;

  it('is refused from another state or attempt, and always at the end', () => {
    expect(refusalOf(accepted(), change)).toBeUndefined();
    expect(refusalOf(accepted(), { ...change, attempt: 1 })).toBeUndefined();
    expect(refusalOf(accepted(), { ...change, attempt: 2 })).toBe('attempt');
    expect(refusalOf(accepted({ state: 'starting' }), change)).toBe('state');
    expect(refusalOf(accepted({ state: 'failed' }), { ...change, from: ['failed'] })).toBe('state');
  });

  it('sets the times of start and end once', () => {
    const running = changed(accepted({ state: 'starting' }), { ...change, to: 'running' }, 2000);
    expect(running.started_at).toBe(2000);
    expect(changed(running, { ...change, to: 'running' }, 3000).started_at).toBe(2000);
    const done = changed(running, { ...change, to: 'succeeded', set: { exit_code: 0 } }, 4000);
    expect(done).toMatchObject({ started_at: 2000, finished_at: 4000, exit_code: 0, state: 'succeeded' });
    expect(done.timeline.at(-1)).toEqual({ at: 4000, attempt: 1, state: 'succeeded' });
  });

  it('to success leaves no failure of an earlier attempt', () => {
    const run = accepted({ state: 'running', failure: { code: 'lost', message: 'gone' } });
    expect(changed(run, { ...change, to: 'succeeded' }, 1)).not.toHaveProperty('failure');
    expect(changed(run, { ...change, to: 'failed' }, 1)).toHaveProperty('failure');
  });

  it('leaves the run it was given alone', () => {
    const run = Object.freeze(accepted({ state: 'running', exit_code: 1 }));
    Object.freeze(run.timeline);
    expect(changed(run, { ...change, to: 'queued', set: { attempt: 2 } }, 5)).toMatchObject({ attempt: 2 });
    expect(run).toMatchObject({ attempt: 1, exit_code: 1, state: 'running' });
  });
});

describe('the time line', () => {
  it('keeps its beginning and its end, and short messages', () => {
    let run = accepted();
    for (let index = 0; index < 100; index += 1) {
      run = noted(run, { at: index, attempt: 1, state: 'queued', message: `${index} ${'x'.repeat(5000)}` });
    }
    expect(run.timeline).toHaveLength(50);
    expect(run.timeline[0]?.at).toBe(1000);
    expect(run.timeline[19]?.at).toBe(18);
    expect(run.timeline[20]?.at).toBe(70);
    expect(run.timeline[49]?.at).toBe(99);
    expect(run.timeline[49]?.message).toHaveLength(1000);
  });
});
