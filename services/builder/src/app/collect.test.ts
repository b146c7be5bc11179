import { setImmediate as turn } from 'node:timers/promises';
import { AppError } from '@sluice/shared/errors';
import { silentLogger } from '@sluice/shared/telemetry';
import { fakeClock, type FakeClock } from '@sluice/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import type { CollectionHold, CollectionOutcome, CollectionState } from '../clean-up-ports.ts';
import { collectionPhases, type CollectionPhase } from '../domain/collection-phases.ts';
import { createCollector, type Collector, type CollectorDeps } from './collect.ts';

const never = new AbortController().signal;
const limits = { drainMs: 5000, switchMs: 2000, collectMs: 60_000 };
const leaseMs = 8000;

let clock: FakeClock;
let steps: string[];
let active: number;
let isWritable: boolean;
let stored: { holder: string; phase: CollectionPhase | ''; until: number } | undefined;
let last: CollectionOutcome | undefined;
let isStoreAway: boolean;

beforeEach(() => {
  clock = fakeClock();
  steps = [];
  active = 0;
  isWritable = true;
  stored = undefined;
  last = undefined;
  isStoreAway = false;
});

/** As the one in Redis, which the tests with real servers use; here it can go away and be emptied. */
function memoryState(): CollectionState {
  const reachable = (): void => {
    if (isStoreAway) throw new AppError('unavailable', 'Redis is away.');
  };
  const claim = (holder: string, terms: { leaseMs: number }, begins: boolean) => {
    reachable();
    const until = clock.now() + terms.leaseMs;
    if (stored === undefined || stored.phase === '') {
      if (!begins) return { kind: 'none' } as const;
      stored = { holder, phase: 'pausing', until };
      return { kind: 'begun' } as const;
    }
    if (stored.until > clock.now()) return { kind: 'busy', phase: stored.phase } as const;
    stored = { ...stored, holder, until };
    return { kind: 'left', phase: stored.phase as CollectionPhase } as const;
  };
  const hold = (holder: string, leaseMs: number, phase?: CollectionPhase): CollectionHold => {
    reachable();
    if (stored === undefined) return 'gone';
    if (stored.holder !== holder || stored.phase === '') return 'taken';
    stored = { holder, phase: phase ?? stored.phase, until: clock.now() + leaseMs };
    return 'held';
  };
  return {
    claim: async (holder, terms) => claim(holder, terms, true),
    takeOver: async (holder, terms) => claim(holder, terms, false),
    enter: async (holder, phase, leaseMs) => hold(holder, leaseMs, phase),
    renew: async (holder, leaseMs) => hold(holder, leaseMs),
    finish: async (holder, outcome) => {
      const held = hold(holder, 0);
      if (held === 'taken') return held;
      last = outcome;
      if (stored !== undefined) stored = { ...stored, phase: '' };
      return held;
    },
    underWay: () => Promise.resolve(undefined),
    last: () => Promise.resolve(undefined),
  };
}

function collector(change: Partial<CollectorDeps> = {}): Collector {
  let ids = 0;
  return createCollector({
    queue: {
      pause: async () => void steps.push('pause'),
      resume: async () => void steps.push('resume'),
      depth: () => Promise.resolve({ waiting: 0, active }),
    },
    keeper: keeper(),
    probe: { takesPushes: () => Promise.resolve(isWritable) },
    state: memoryState(),
    protect: async () => void steps.push('protect'),
    limits,
    leaseMs,
    clock,
    random: { hex: () => `holder-${(ids += 1)}-${steps.length}` },
    log: silentLogger(),
    ...change,
  });
}

function keeper(change: Partial<NonNullable<CollectorDeps['keeper']>> = {}) {
  return {
    readOnly: async () => {
      steps.push('read-only');
      isWritable = false;
    },
    writable: async () => {
      steps.push('writable');
      isWritable = true;
    },
    collect: async () => {
      steps.push('collect');
      return { manifests: 1, blobs: 2, freedBytes: 3 };
    },
    ...change,
  } satisfies CollectorDeps['keeper'];
}

/** Lets time pass until it is settled. */
async function settle<T>(promise: Promise<T>, stepMs = 250): Promise<T> {
  const state = { isPending: true };
  const note = (): void => void (state.isPending = false);
  promise.then(note, note);
  for (let count = 0; state.isPending; count += 1) {
    if (count > 10_000) throw new Error('it never settles');
    await turn();
    if (state.isPending) clock.advance(stepMs);
  }
  return promise;
}

const whole = ['pause', 'protect', 'read-only', 'collect', 'writable', 'resume'];
const fail = (message: string) => async (): Promise<never> => {
  throw new AppError('unavailable', message);
};

test('all in order, and what came of it', async () => {
  const done = { state: 'done', manifests: 1, blobs: 2, freedBytes: 3 };
  expect(await settle(collector().collect(never))).toEqual(done);
  expect(steps).toEqual(whole);
  expect(last).toEqual(done);
  // It may come again.
  expect(await settle(collector().collect(never))).toEqual(done);
});

test('nothing without a keeper', async () => {
  expect(await collector({ keeper: undefined }).collect(never)).toEqual({ state: 'unsupported' });
  expect(steps).toEqual([]);
});

test('one at a time', async () => {
  const state = memoryState();
  await state.claim('other', { leaseMs, totalMs: 1e6 });
  expect(await collector({ state }).collect(never)).toEqual({ state: 'busy', phase: 'pausing' });
  expect(await collector({ state }).recover(never)).toBe('busy');
  expect(steps).toEqual([]);
});

test('builds that do not end: it gives up before the registry is touched', async () => {
  active = 2;
  expect(await settle(collector().collect(never))).toEqual({
    state: 'gave_up',
    why: '2 builds were still under way after 5 seconds',
  });
  expect(steps).toEqual(['pause', 'resume']);
});

test('builds that end in time are waited for', async () => {
  active = 1;
  const result = collector().collect(never);
  void clock.sleep(3000).then(() => (active = 0));
  expect(await settle(result)).toMatchObject({ state: 'done' });
});

test.each([
  ['protect', { protect: fail('no tag') }, 'draining', ['pause', 'resume']],
  [
    'read-only',
    { keeper: keeper({ readOnly: fail('no command') }) },
    'locking',
    ['pause', 'protect', 'writable', 'resume'],
  ],
  [
    'collect',
    { keeper: keeper({ collect: fail('no space') }) },
    'collecting',
    ['pause', 'protect', 'read-only', 'writable', 'resume'],
  ],
] as const)('a failure of %s is undone and told', async (_step, change, phase, expected) => {
  expect(await settle(collector(change as Partial<CollectorDeps>).collect(never))).toMatchObject({
    state: 'failed',
    phase,
    why: expect.stringMatching(/^no /) as string,
  });
  expect(steps).toEqual(expected);
  expect(stored?.phase).toBe('');
});

test('nothing is collected while the registry takes pushes, whatever the command says', async () => {
  const careless = keeper({ readOnly: async () => void steps.push('read-only') });
  expect(await settle(collector({ keeper: careless }).collect(never))).toEqual({
    state: 'failed',
    phase: 'locking',
    why: 'The registry was made read-only, but is not: it takes pushes',
  });
  expect(steps).toEqual(['pause', 'protect', 'read-only', 'writable', 'resume']);
});

test('a registry that does not come back stays noted, and builds wait until it does', async () => {
  const broken = keeper({ writable: fail('no restart') });
  expect(await settle(collector({ keeper: broken }).collect(never))).toEqual({
    state: 'failed',
    phase: 'unlocking',
    why: 'no restart',
  });
  expect(stored?.phase).toBe('unlocking');
  expect(steps).not.toContain('resume');
  expect(await collector().recover(never)).toBe('busy');
  clock.advance(leaseMs + 1);
  expect(await settle(collector().recover(never))).toBe('undone');
  expect(steps.slice(-2)).toEqual(['writable', 'resume']);
  expect(last).toEqual({ state: 'undone', phase: 'unlocking' });
});

test.each(collectionPhases)('left behind while %s: undone by the next one who looks, once', async (phase) => {
  stored = { holder: 'dead', phase, until: clock.now() + 1 };
  isWritable = false;
  expect(await collector().recover(never)).toBe('busy');
  clock.advance(2);
  expect(await settle(collector().collect(never))).toEqual({ state: 'undone', phase });
  const isLocked = phase === 'locking' || phase === 'collecting' || phase === 'unlocking';
  expect(steps).toEqual(isLocked ? ['writable', 'resume'] : ['resume']);
  expect(await collector().recover(never)).toBe('nothing');
  isWritable = true;
  expect(await settle(collector().collect(never))).toMatchObject({ state: 'done' });
});

test('what was left behind is undone without a keeper, where none is needed', async () => {
  stored = { holder: 'dead', phase: 'draining', until: clock.now() - 1 };
  expect(await settle(collector({ keeper: undefined }).recover(never))).toBe('undone');
  expect(steps).toEqual(['resume']);
  stored = { holder: 'dead', phase: 'collecting', until: clock.now() - 1 };
  expect(await settle(collector({ keeper: undefined }).recover(never))).toBe('failed');
  expect(stored.phase).toBe('unlocking');
  expect(steps).toEqual(['resume']);
});

/** A collection that lasts until it is broken off. */
function endless(): { keeper: CollectorDeps['keeper']; begun: Promise<void> } {
  const begun = Promise.withResolvers<void>();
  const collect = async (signal: AbortSignal): Promise<never> => {
    steps.push('collect');
    begun.resolve();
    const { promise, reject } = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => {
      steps.push('broken off');
      reject(signal.reason);
    });
    return promise;
  };
  return { keeper: keeper({ collect }), begun: begun.promise };
}

test('taken over by another: it is broken off, and the registry is left to the other', async () => {
  const { keeper, begun } = endless();
  const result = collector({ keeper }).collect(never);
  await settle(begun);
  stored = { holder: 'other', phase: 'unlocking', until: clock.now() + 1e6 };
  expect(await settle(result)).toEqual({ state: 'lost', phase: 'collecting' });
  expect(steps).toEqual(['pause', 'protect', 'read-only', 'collect', 'broken off']);
  expect(stored.holder).toBe('other');
});

test('with Redis away it is broken off before another may take it, and undone afterwards', async () => {
  const { keeper, begun } = endless();
  const result = collector({ keeper }).collect(never);
  await settle(begun);
  isStoreAway = true;
  const before = clock.now();
  expect(await settle(result)).toEqual({ state: 'lost', phase: 'collecting' });
  expect(clock.now() - before).toBeLessThan(leaseMs);
  expect(steps.at(-1)).toBe('broken off');
  isStoreAway = false;
  clock.advance(leaseMs);
  expect(await settle(collector().recover(never))).toBe('undone');
  expect(steps.slice(-2)).toEqual(['writable', 'resume']);
});

test('an emptied Redis: nobody else would undo it, so this one does', async () => {
  const emptied = keeper({
    readOnly: async () => {
      isWritable = false;
      stored = undefined;
    },
  });
  expect(await settle(collector({ keeper: emptied }).collect(never))).toMatchObject({
    state: 'failed',
    why: 'The state of the collection is gone: Redis was emptied.',
  });
  expect(steps).toEqual(['pause', 'protect', 'writable', 'resume']);
});

test('a process that is stopped brings the registry back first', async () => {
  const { keeper, begun } = endless();
  const stopping = new AbortController();
  const result = collector({ keeper }).collect(stopping.signal);
  await settle(begun);
  stopping.abort(new Error('stopping'));
  expect(await settle(result)).toEqual({ state: 'failed', phase: 'collecting', why: 'stopping' });
  expect(steps.slice(-3)).toEqual(['broken off', 'writable', 'resume']);
  expect(isWritable).toBe(true);
});
