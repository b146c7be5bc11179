import { mkdir, open, writeFile } from 'node:fs/promises';
import { AppError } from '@sluice/shared/errors';
import type { StoredDefinition } from '@sluice/shared/stores';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openWorld, type World } from '../support/world.ts';

let world: World;
let service: StoredDefinition;

beforeEach(async () => {
  world = await openWorld();
  await mkdir(world.path('photos/in/2025'), { recursive: true });
  for (const name of ['a', '2025/b', '2025/c', '.hidden'])
    await writeFile(world.path('photos/in', name), name);
  service = await world.createService('thumb', ['photos/in', 'photos/more']);
  await writeFile(world.path('photos/more/d'), 'd');
  const settled = (await world.objects.head('photos', 'more/d'))?.changedAt ?? 0;
  await eventually('the files are at rest', () => Date.now() > settled + 200);
});
afterEach(async () => {
  await world.close();
});

const keys = async (): Promise<readonly string[]> =>
  (await world.allRuns('thumb')).map((run) => `${run.input?.key} ${run.source}`).toSorted();

test('runs what was there before, and only what has no run', async () => {
  let handled = 0;
  const bus: typeof world.bus = {
    ...world.bus,
    subscribe: async (spec, handler) =>
      world.bus.subscribe(spec, async (delivery) => {
        await handler(delivery);
        handled += 1;
      }),
  };
  await world.start({ bus });
  await world.runs('thumb', 1);
  expect(await keys()).toEqual(['more/d reconciler']);
  await world.backfill(service);
  await world.runs('thumb', 4);
  await world.backfill(service);
  await world.backfill(service, { prefix: 'photos/in/2025/' });
  await eventually('all are worked off', () => handled === 3);
  expect(await keys()).toEqual([
    'in/2025/b backfill',
    'in/2025/c backfill',
    'in/a backfill',
    'more/d reconciler',
  ]);
});

test('of a part runs that part', async () => {
  await world.start();
  await world.runs('thumb', 1);
  await world.backfill(service, { prefix: 'photos/in/2025' });
  await world.runs('thumb', 3);
  expect(await keys()).toEqual(['in/2025/b backfill', 'in/2025/c backfill', 'more/d reconciler']);
});

test('again gives new runs to what has had one; the same backfill twice does not', async () => {
  await world.start();
  await world.runs('thumb', 1);
  await world.backfill(service);
  await world.runs('thumb', 4);
  const request = { again: true, backfill_id: 'again-1' };
  await world.backfill(service, request);
  await world.runs('thumb', 8);
  // A second delivery of the same request, as after a kill before its acknowledgement.
  const payload = { service: 'thumb', service_uid: service.uid, prefix: '', ...request };
  await world.bus.publish([{ id: 'second-delivery', name: 'backfills.start', key: 'thumb', payload }]);
  await world.backfill(service, { again: true, backfill_id: 'again-2' });
  await world.runs('thumb', 12);
  const runs = await world.allRuns('thumb');
  expect(runs.length).toBe(12);
  expect(new Set(runs.map((run) => run.id)).size).toBe(12);
});

test('of a service that is gone, or was made anew, does nothing', async () => {
  await world.start();
  await world.runs('thumb', 1);
  await world.backfill(service, { service: 'nobody' });
  await world.backfill(service, { service_uid: 'another' });
  await world.backfill(service, { prefix: 'photos/in/a' });
  await world.runs('thumb', 2);
  expect(await world.bus.deadLetters.count()).toBe(0);
  expect(await keys()).toEqual(['in/a backfill', 'more/d reconciler']);
});

test('of what is no input of the service goes to the dead letters', async () => {
  await world.start();
  await world.backfill(service, { prefix: 'photos/out' });
  await eventually('the dead letter', async () => (await world.bus.deadLetters.count()) === 1);
  const { items } = await world.bus.deadLetters.list({ limit: 1 });
  expect(items[0]).toMatchObject({ name: 'backfills.start', consumer: 'storage-events-backfills' });
  expect(items[0]?.reason).toContain('photos/out');
});

test('goes on after a failure, and after a stop in the middle', async () => {
  let fail = true;
  const ledger = {
    ...world.ledger,
    claim: async (runs: Parameters<typeof world.ledger.claim>[0]) => {
      if (fail && runs[0]?.source === 'backfill') {
        fail = false;
        throw new AppError('unavailable', 'away for a moment');
      }
      return world.ledger.claim(runs);
    },
  };
  await world.start({ ledger });
  await world.backfill(service);
  await eventually('it failed once', () => !fail);
  await world.start();
  await world.runs('thumb', 4);
  expect((await world.allRuns('thumb')).length).toBe(4);
});

test.runIf(process.platform === 'linux')(
  'waits for an old file that somebody has open for writing',
  async () => {
    const handle = await open(world.path('photos/in/a'), 'r+');
    await world.start();
    await world.backfill(service, { prefix: 'photos/in/' });
    await world.runs('thumb', 3);
    expect(await keys()).not.toContain('in/a backfill');
    await handle.close();
    await world.runs('thumb', 4);
    expect(await keys()).toContain('in/a backfill');
  },
);
