import { AppError } from '@sluice/shared/errors';
import { createSoleLeases, splitPath, type Leases, type ObjectStore } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock } from '@sluice/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { createServiceIndex } from '../domain/match.ts';
import type { KnownService } from './definitions.ts';
import { createStorageEventsMetrics } from './metrics.ts';
import { createReconciler, type Reconciler } from './reconciler.ts';

const stop: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const one of stop.splice(0)) await one();
});

const service = (name: string, path: string): KnownService => ({
  name,
  uid: `uid-${name}`,
  region: '',
  inputs: [splitPath(path)],
  updatedAt: 0,
  knownSince: new Map(),
});

/** A reconciler over listings that the test writes; time stands still but for what it says listing takes. */
function reconcilerOver(
  paths: readonly string[],
  list: (path: string, page: number) => { pages: number; takesMs?: number },
  leases: Leases = createSoleLeases(),
) {
  const clock = fakeClock();
  const listed: string[] = [];
  const index = createServiceIndex(paths.map((path, at) => service(`s${at}`, path)));
  const objects = {
    now: async () => clock.now(),
    list: async (bucket: string, { prefix, after }: Parameters<ObjectStore['list']>[1]) => {
      const page = Number(after ?? '0') + 1;
      listed.push(`${bucket}/${prefix}${page}`);
      const { pages, takesMs = 0 } = list(`${bucket}/${prefix}`, page);
      clock.advance(takesMs);
      return page < pages ? { objects: [], next: String(page) } : { objects: [] };
    },
    head: async () => undefined,
  };
  const log = silentLogger();
  const reconciler: Reconciler = createReconciler({
    objects,
    ledger: { claimed: async () => [] },
    source: { start: async () => {}, setPrefixes: async () => {}, stop: async () => {} },
    acceptor: { notified: async () => {}, claim: async () => [], refused: () => false },
    settleMs: 1000,
    cache: { start: async () => {}, stop: async () => {}, index: () => index },
    floors: { refresh: async () => {}, of: async () => 0, raise: async () => {}, forget: () => {} },
    clock,
    leases,
    marginMs: 86_400_000,
    log,
    metrics: createStorageEventsMetrics(createMetrics(), () => reconciler.failing().size),
    intervalMs: 60_000,
  });
  stop.push(async () => reconciler.stop());
  const lists = async (count: number): Promise<void> => {
    await eventually(`${count} listings`, () => listed.length >= count);
    // It has nothing more to do: it sleeps.
    await eventually('it rests', () => clock.sleepers() === 1);
  };
  return { clock, listed, reconciler, lists };
}

test('lists every path at start and at each interval', async () => {
  const { clock, listed, reconciler, lists } = reconcilerOver(['one/in', 'two/in'], () => ({ pages: 1 }));
  reconciler.start();
  await lists(2);
  clock.advance(59_999);
  await lists(2);
  expect(listed).toEqual(['one/in/1', 'two/in/1']);
  clock.advance(1);
  await lists(4);
  expect(listed.slice(2)).toEqual(['one/in/1', 'two/in/1']);
});

test('rests twenty times as long as a pass takes', async () => {
  const { clock, listed, reconciler, lists } = reconcilerOver(['one/in'], () => ({
    pages: 1,
    takesMs: 10_000,
  }));
  reconciler.start();
  await lists(1);
  clock.advance(199_999);
  await lists(1);
  expect(listed.length).toBe(1);
  clock.advance(1);
  await lists(2);
});

test('a long listing does not keep the others waiting, nor what is asked for meanwhile', async () => {
  const requested = { done: false };
  const { listed, reconciler, lists } = reconcilerOver(['long/in', 'short/in', 'asked/in'], (path, page) => {
    if (path === 'long/in/' && page === 5 && !requested.done) {
      requested.done = true;
      reconciler.request([splitPath('asked/in')]);
    }
    return { pages: path === 'long/in/' ? 9 : 1 };
  });
  reconciler.start();
  await lists(12);
  expect(listed.map((page) => page.replace('/in/', ' '))).toEqual([
    'long 1',
    'long 2',
    'long 3',
    'long 4',
    'short 1',
    'asked 1',
    'long 5',
    'long 6',
    'long 7',
    'long 8',
    'asked 1',
    'long 9',
  ]);
});

test('a path that fails is tried again soon, ever more slowly, and the rest goes on', async () => {
  let broken = true;
  const { clock, listed, reconciler, lists } = reconcilerOver(['bad/in', 'good/in'], (path) => {
    if (broken && path.startsWith('bad')) throw new AppError('unavailable', 'away');
    return { pages: 1 };
  });
  reconciler.start();
  await lists(2);
  expect([...reconciler.failing()]).toEqual([['bad/in/', 'away']]);
  for (const wait of [1000, 2000, 4000]) {
    const before = listed.length;
    clock.advance(wait - 1);
    await lists(before);
    expect(listed.length).toBe(before);
    clock.advance(1);
    await lists(before + 1);
  }
  expect(listed.filter((page) => page.startsWith('good')).length).toBe(1);
  broken = false;
  clock.advance(8000);
  await eventually('it is well again', () => reconciler.failing().size === 0);
});

test('a full pass on request is one that begins later, whatever failed before', async () => {
  const { listed, reconciler, lists } = reconcilerOver(['one/in', 'two/in'], (path) => {
    if (path.startsWith('two')) throw new AppError('unavailable', 'away');
    return { pages: 1 };
  });
  reconciler.start();
  await lists(2);
  expect(await reconciler.fullPass()).toEqual({ paths: 2, found: 0, failed: 1 });
  expect(listed).toEqual(['one/in/1', 'two/in/1', 'one/in/1', 'two/in/1']);
  const waiting = reconciler.fullPass();
  await reconciler.stop();
  await expect(Promise.race([waiting, reconciler.fullPass()])).rejects.toThrow('stopped');
  await waiting.catch(() => {});
});

/** Leases of one store, as one replica has them. */
function replicaLeases(shared: Map<string, string>, replica: string): Leases {
  return {
    hold: async (name) => {
      const holder = shared.get(name) ?? replica;
      shared.set(name, holder);
      return holder === replica;
    },
    release: async (name) => {
      if (shared.get(name) === replica) shared.delete(name);
    },
  };
}

test('of two replicas one lists a path; the other does when that one fails, stops, or word of it was missed', async () => {
  const shared = new Map<string, string>();
  let broken = false;
  const first = reconcilerOver(
    ['photos/in', 'photos/more'],
    () => {
      if (broken) throw new AppError('unavailable', 'away');
      return { pages: 1 };
    },
    replicaLeases(shared, 'first'),
  );
  const second = reconcilerOver(
    ['photos/in', 'photos/more'],
    () => ({ pages: 1 }),
    replicaLeases(shared, 'second'),
  );
  first.reconciler.start();
  await first.lists(2);
  second.reconciler.start();
  second.reconciler.request([splitPath('photos/in')]);
  second.reconciler.request([splitPath('photos/more')], true);
  await second.lists(1);
  expect(second.listed).toEqual(['photos/more/1']);

  broken = true;
  first.reconciler.request([splitPath('photos/in')]);
  await eventually('it has failed', async () => first.reconciler.failing().size === 1);
  second.reconciler.request([splitPath('photos/in')]);
  await second.lists(2);
  expect(second.listed.at(-1)).toBe('photos/in/1');

  await first.reconciler.stop();
  second.reconciler.request([splitPath('photos/more')]);
  await second.lists(3);
  expect([...new Set(shared.values())]).toEqual(['second']);
});
