import type { AttemptOutcome } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { answersCrowded } from './answer-memory.ts';
import { callAnswer, type CallEnd } from './call-answer.ts';

const end = (outcome: Partial<AttemptOutcome>, more: Partial<CallEnd> = {}): CallEnd => ({
  outcome: { result: 'failed', script_started: true, outputs: [], ...outcome },
  unknownEvent: true,
  files: [],
  output: Buffer.from('printed\n'),
  dropped: 0,
  crowded: false,
  limit: 1000,
  at: 0,
  ...more,
});
const answer = (outcome: Partial<AttemptOutcome>, more: Partial<CallEnd> = {}): readonly unknown[] => {
  const { status, result, body } = callAnswer(end(outcome, more));
  return [status, result, Buffer.from(body).toString()];
};
const failure = (code: string): Pick<AttemptOutcome, 'failure'> => ({
  failure: { code, message: 'a sentence' },
});

test('how a call ended decides its answer', () => {
  expect(answer({ result: 'succeeded' })).toEqual([200, 'succeeded', 'printed\n\n']);
  expect(answer({ ...failure('script_failed'), exit_code: 3 })).toEqual([
    500,
    'failed',
    'exit status 3\nprinted\n',
  ]);
  expect(answer(failure('timed_out'))).toEqual([408, 'timed_out', 'Killed process.\n']);
  expect(answer({ ...failure('output_failed'), exit_code: 0 })).toEqual([
    500,
    'failed',
    'exit status 1\nprinted\na sentence\n',
  ]);
  expect(answer({ ...failure('script_missing'), script_started: false })).toEqual([
    500,
    'failed',
    'exit status 1\na sentence\n',
  ]);
});

test('what another call may do better is unavailable, and a bug says nothing of itself', () => {
  expect(answer({ ...failure('store_unavailable'), retryable: true })).toEqual([
    503,
    'unavailable',
    'a sentence\n',
  ]);
  expect(answer({ ...failure('script_lost'), result: 'lost' })).toEqual([503, 'unavailable', 'a sentence\n']);
  expect(answer({ ...failure('internal_error'), retryable: true })[2]).not.toContain('a sentence');
  expect(answer({ ...failure('cancelled'), result: 'cancelled' })[0]).toBe(503);
});

test('without memory for the answer a call that succeeded is to come back, and one that failed still says so', () => {
  const crowded = { crowded: true, output: Buffer.alloc(0), dropped: 5 };
  expect(answer({ result: 'succeeded' }, crowded)).toEqual([503, 'unavailable', `${answersCrowded}\n`]);
  expect(callAnswer(end({ result: 'succeeded' }, crowded)).retryAfterSeconds).toBe(1);
  expect(answer({ ...failure('script_failed'), exit_code: 3 }, crowded)[0]).toBe(500);
});

test('output past the limit is never cut silently', () => {
  expect(answer({ result: 'succeeded' }, { dropped: 5 })[2]).toContain('SLUICE_CALL_RESPONSE_LIMIT');
  expect(answer({ ...failure('script_failed'), exit_code: 1 }, { dropped: 5 })[2]).toContain('5 more bytes');
  const files = [{ name: 'a', data: Buffer.from('file') }];
  expect(answer({ result: 'succeeded' }, { dropped: 5, files })).toEqual([200, 'succeeded', 'ZmlsZQ==\n']);
});
