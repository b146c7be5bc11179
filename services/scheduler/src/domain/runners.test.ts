import { describe, expect, test } from 'vitest';
import {
  desiredRunners,
  hasScript,
  nextTarget,
  runnersState,
  startPause,
  type RunnerFacts,
} from './runners.ts';

const need = { waiting: 0, active: 0, minScale: 0, maxScale: 0, hostLimit: 8, off: false };

test('one runner a call, within the bounds of the service and of the host', () => {
  expect(desiredRunners(need)).toBe(0);
  expect(desiredRunners({ ...need, waiting: 2, active: 1 })).toBe(3);
  expect(desiredRunners({ ...need, waiting: 100 })).toBe(8);
  expect(desiredRunners({ ...need, waiting: 100, maxScale: 3 })).toBe(3);
  expect(desiredRunners({ ...need, minScale: 2 })).toBe(2);
  expect(desiredRunners({ ...need, minScale: 20, maxScale: 4 })).toBe(4);
  expect(desiredRunners({ ...need, minScale: -1 })).toBe(0);
  expect(desiredRunners({ ...need, minScale: 2, waiting: 1, off: true })).toBe(0);
});

describe('the target', () => {
  test('rises at once and falls after a time without need', () => {
    const up = nextTarget({ count: 1 }, 4, 0, 100);
    expect(up).toEqual({ count: 4 });
    const low = nextTarget(up, 1, 10, 100);
    expect(low.count).toBe(4);
    expect(nextTarget(low, 1, 109, 100).count).toBe(4);
    expect(nextTarget(low, 1, 110, 100)).toEqual({ count: 1 });
  });
  test('falls to the most that was needed meanwhile, and further later', () => {
    let target = nextTarget({ count: 4 }, 0, 0, 100);
    target = nextTarget(target, 2, 50, 100);
    target = nextTarget(target, 0, 100, 100);
    expect(target.count).toBe(2);
    expect(nextTarget(target, 0, 199, 100).count).toBe(2);
    expect(nextTarget(target, 0, 200, 100)).toEqual({ count: 0 });
  });
  test('need that comes back begins the time anew', () => {
    const low = nextTarget({ count: 2 }, 0, 0, 100);
    const back = nextTarget(low, 2, 90, 100);
    expect(nextTarget(back, 0, 120, 100).count).toBe(2);
  });
  test('without a time it falls at once', () => {
    expect(nextTarget({ count: 4 }, 0, 0, 0)).toEqual({ count: 0 });
  });
});

test('pauses grow up to a minute', () => {
  expect([1, 2, 3, 7, 100].map(startPause)).toEqual([1000, 2000, 4000, 60_000, 60_000]);
});

test('a script may be in a variable', () => {
  const environment = { variables: {}, secrets: {} };
  expect(hasScript({ script: ' ', environment })).toBe(false);
  expect(hasScript({ script: 'true', environment })).toBe(true);
  expect(hasScript({ environment: { ...environment, variables: { SCRIPT: 'dHJ1ZQ==' } } })).toBe(true);
});

test("the state in OSCAR's words", () => {
  const facts: RunnerFacts = {
    stopped: false,
    hasScript: true,
    target: 2,
    ready: 2,
    readyNewest: 2,
    failure: undefined,
    pausing: false,
    waitsForRoom: false,
  };
  const state = (more: Partial<RunnerFacts>): string => runnersState({ ...facts, ...more }).state;
  const none = { ready: 0, readyNewest: 0 };
  expect(state({})).toBe('ready');
  expect(state({ ...none, target: 0 })).toBe('ready');
  expect(state(none)).toBe('pending');
  expect(runnersState({ ...facts, ...none, waitsForRoom: true }).reason).not.toBe('');
  expect(state({ readyNewest: 0, failure: 'no image' })).toBe('degraded');
  expect(runnersState({ ...facts, ...none, failure: 'no image' })).toEqual({
    state: 'failed',
    reason: 'no image',
  });
  expect(state({ ...none, target: 0, failure: 'no image', pausing: true })).toBe('failed');
  expect(state({ ...none, target: 0, failure: 'no image' })).toBe('ready');
  expect(state({ stopped: true })).toBe('stopped');
  expect(state({ hasScript: false })).toBe('failed');
});
