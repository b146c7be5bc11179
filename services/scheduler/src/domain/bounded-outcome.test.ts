import type { AttemptOutcome } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { boundedOutcome } from './bounded-outcome.ts';

const output = { bucket: 'out', key: 'a', size: 1, etag: 'e', identity: 'i', last_modified: 1 };

test('an outcome of ordinary size is left as it is', () => {
  const outcome: AttemptOutcome = {
    result: 'failed',
    script_started: true,
    exit_code: 3,
    failure: { code: 'script_failed', message: 'exit code 3' },
    outputs: [output],
  };
  expect(boundedOutcome(outcome)).toEqual(outcome);
});

test('what is too much is counted or cut, never refused', () => {
  const outcome: AttemptOutcome = {
    result: 'failed',
    script_started: true,
    failure: { code: 'c'.repeat(1000), message: 'm'.repeat(100_000) },
    outputs: Array.from({ length: 130 }, () => output),
    outputs_omitted: 7,
  };
  const bounded = boundedOutcome(outcome);
  expect(bounded.outputs).toHaveLength(100);
  expect(bounded.outputs_omitted).toBe(37);
  expect(bounded.failure?.code).toHaveLength(100);
  expect(bounded.failure?.message.length).toBeLessThan(4100);
});
