import type { AttemptOutcome } from '@sluice/shared/contracts';
import { describe, expect, test } from 'vitest';
import { defaultInfraRetries, maxAttempts, nextStep, plannedStop, retryDelayMs } from './next-step.ts';

const run = { attempt: 1, infra_failures: 0, script_failures: 0, timeline: [] };
const ended = (result: AttemptOutcome['result'], more: Partial<AttemptOutcome> = {}): AttemptOutcome => ({
  result,
  script_started: true,
  outputs: [],
  ...more,
});

describe('a run after its attempt', () => {
  test('a script that failed is a failed run, not another attempt', () => {
    const failure = { code: 'script_failed', message: 'the script ended with exit code 3' };
    const step = nextStep(run, ended('failed', { exit_code: 3, failure }), {});
    expect(step).toMatchObject({ kind: 'finish', to: 'failed', message: failure.message });
  });

  test('script_retries gives it another one, as often as it says', () => {
    expect(nextStep(run, ended('failed'), { script_retries: 1 })).toMatchObject({
      kind: 'again',
      scriptFailures: 1,
    });
    expect(nextStep({ ...run, script_failures: 1 }, ended('failed'), { script_retries: 1 })).toMatchObject({
      kind: 'finish',
      to: 'failed',
    });
  });

  test('a store that was away is tried again without being asked, but not for ever', () => {
    expect(nextStep(run, ended('failed', { retryable: true }), {})).toMatchObject({ kind: 'again' });
    expect(nextStep({ ...run, script_failures: 5 }, ended('failed', { retryable: true }), {})).toMatchObject({
      kind: 'finish',
    });
  });

  test('losing the machine before the script costs nothing', () => {
    const step = nextStep({ ...run, infra_failures: 99 }, ended('lost', { script_started: false }), {});
    expect(step).toMatchObject({ kind: 'again', infraFailures: 99 });
  });

  test('losing it after the script had started counts', () => {
    expect(nextStep(run, ended('lost'), {})).toMatchObject({ kind: 'again', infraFailures: 1 });
    const last = nextStep({ ...run, infra_failures: defaultInfraRetries }, ended('lost'), {});
    expect(last).toMatchObject({ kind: 'finish', to: 'failed', outcome: { failure: { code: 'lost' } } });
    expect(nextStep(run, ended('lost'), { infra_retries: 0 })).toMatchObject({
      kind: 'finish',
      to: 'failed',
    });
  });

  test('a stop that was asked for costs nothing', () => {
    const failure = { code: plannedStop, message: 'stopped' };
    expect(nextStep({ ...run, infra_failures: 3 }, ended('lost', { failure }), {})).toMatchObject({
      kind: 'again',
      infraFailures: 3,
    });
  });

  test('a run that somebody cancelled is not started again', () => {
    expect(nextStep({ ...run, cancel_requested_at: 1 }, ended('lost'), {})).toMatchObject({
      kind: 'finish',
      to: 'cancelled',
    });
    const noted = { at: 1, attempt: 1, state: 'running', message: 'asked to' } as const;
    const failure = { code: plannedStop, message: 'the pod was asked to end' };
    expect(
      nextStep({ ...run, cancel_requested_at: 1, timeline: [noted] }, ended('lost', { failure }), {}),
    ).toMatchObject({
      to: 'cancelled',
      message: 'asked to',
      outcome: { failure: { code: 'cancelled', message: 'asked to' } },
    });
    expect(nextStep({ ...run, cancel_requested_at: 1 }, ended('succeeded'), {})).toMatchObject({
      to: 'succeeded',
    });
  });

  test('every chain of attempts ends', () => {
    const late = { ...run, attempt: maxAttempts };
    expect(nextStep(late, ended('lost', { script_started: false }), {})).toMatchObject({
      kind: 'finish',
      to: 'failed',
    });
  });
});

test('the pause before another attempt grows to a minute', () => {
  expect([0, 1, 2, 3, 4, 50].map(retryDelayMs)).toEqual([0, 0, 1000, 2000, 4000, 60_000]);
});
