import { describe, expect, it } from 'vitest';
import { parseRetryAfter, pauseBeforeRetry, type Ending, type Tries } from './retry.ts';

const tries = (over: Partial<Tries> = {}): Tries => ({ count: 1, since: 0, wasReached: false, ...over });
const status = (code: number, retryAfterSeconds?: number): Ending => ({
  kind: 'status',
  status: code,
  retryAfterSeconds,
});

describe('the pause before the next try', () => {
  it('is none for a server that never answered', () => {
    expect(pauseBeforeRetry({ kind: 'refused' }, tries(), 1)).toBeUndefined();
    expect(pauseBeforeRetry({ kind: 'unknown-host' }, tries({ wasReached: true }), 1)).toBeUndefined();
  });

  it('grows while a server that was there is away, up to half a minute', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7].map((count) =>
      pauseBeforeRetry({ kind: 'refused' }, tries({ count, wasReached: true }), 1),
    );
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
    expect(pauseBeforeRetry({ kind: 'refused' }, tries({ wasReached: true }), 0)).toBe(100);
    expect(
      pauseBeforeRetry({ kind: 'refused' }, tries({ wasReached: true, since: 30_000 }), 1),
    ).toBeUndefined();
    expect(pauseBeforeRetry({ kind: 'refused' }, tries({ wasReached: true, count: 30 }), 1)).toBeUndefined();
  });

  it('is short for a connection that broke', () => {
    expect(pauseBeforeRetry({ kind: 'broken' }, tries(), 1)).toBe(200);
    expect(pauseBeforeRetry({ kind: 'broken' }, tries({ count: 3 }), 1)).toBeUndefined();
  });

  it('is what the server asks for, unless that is too long', () => {
    expect(pauseBeforeRetry(status(503, 7), tries(), 1)).toBe(7000);
    expect(pauseBeforeRetry(status(429, 0), tries(), 1)).toBe(200);
    expect(pauseBeforeRetry(status(503, 31), tries(), 1)).toBeUndefined();
    expect(pauseBeforeRetry(status(503, 20), tries({ since: 15_000 }), 1)).toBeUndefined();
  });

  it('is a few short ones without that', () => {
    expect(pauseBeforeRetry(status(503), tries({ count: 3 }), 1)).toBe(800);
    expect(pauseBeforeRetry(status(503), tries({ count: 4 }), 1)).toBeUndefined();
    expect(pauseBeforeRetry(status(502), tries(), 1)).toBe(200);
  });

  it.each([400, 401, 404, 409, 500])('is none after %d', (code) => {
    expect(pauseBeforeRetry(status(code, 1), tries(), 1)).toBeUndefined();
  });

  it('is none after silence: the limit on it has passed already', () => {
    expect(pauseBeforeRetry({ kind: 'timeout' }, tries({ wasReached: true }), 1)).toBeUndefined();
  });
});

it.each([
  [undefined, undefined],
  ['7', 7],
  [' 0 ', 0],
  ['Thu, 01 Jan 1970 00:00:12 GMT', 2],
  ['Thu, 01 Jan 1970 00:00:01 GMT', 0],
  ['soon', undefined],
])('Retry-After %j is %s s', (value, seconds) => {
  expect(parseRetryAfter(value, 10_000)).toBe(seconds);
});
