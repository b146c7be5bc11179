import { mkdir, open, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openWorld, silentSource, type World } from '../support/world.ts';

let world: World;

beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => {
  await world.close();
});

const keysOf = (runs: readonly { input?: { key: string } }[]): readonly string[] =>
  runs.map((run) => run.input?.key ?? '').toSorted();

describe('floors', () => {
  const hour = 3_600_000;

  test('what was there before the service is never run, whoever lists', async () => {
    await mkdir(world.path('photos/in'), { recursive: true });
    for (const name of ['a', 'b', 'c']) await writeFile(world.path('photos/in', name), name);
    await world.createService('thumb', ['photos/in']);
    const component = await world.start();
    await component.reconcile();
    await world.start();
    await writeFile(world.path('photos/in/new'), 'x');
    await world.runs('thumb', 1);
    expect(keysOf(await world.allRuns('thumb'))).toEqual(['in/new']);
  });

  test('a file with old times counts from its arrival', async () => {
    await writeFile(join(world.folders.dir, 'old'), 'x');
    await utimes(join(world.folders.dir, 'old'), 1000, 1000);
    await world.createService('thumb', ['photos/in']);
    await rename(join(world.folders.dir, 'old'), world.path('photos/in/old'));
    await world.start({ source: silentSource, config: { reconcileIntervalMs: 30 } });
    expect(keysOf(await world.runs('thumb', 1))).toEqual(['in/old']);
  });

  test('a floor rises once all that is older has its run, and claims past their time are not missed', async () => {
    const stored = await world.createService('thumb', ['photos/in']);
    const [before] = await world.definitions.floors(stored.uid);
    const marginMs = 400;
    await world.start({ config: { marginMs, reconcileIntervalMs: 20 } });
    for (const name of ['a', 'b', 'c']) await writeFile(world.path('photos/in', name), name);
    const runs = await world.runs('thumb', 3);
    const youngest = Math.max(...runs.map((run) => run.input?.last_modified ?? 0));
    await eventually(
      'the floor is past them',
      async () => ((await world.definitions.lowestFloor()) ?? 0) > youngest,
    );
    expect((await world.definitions.lowestFloor()) ?? 0).toBeGreaterThan(before?.at ?? 0);
    for (const run of runs) {
      for (const to of ['starting', 'running', 'succeeded'] as const) {
        await world.ledger.transition({ id: run.id, from: ['queued', 'starting', 'running'], to });
      }
    }
    const future = Date.now() + hour;
    await world.ledger.expire({ recordsBefore: future, claimsBefore: future, limit: 100 });
    await world.ledger.expire({ recordsBefore: future, claimsBefore: future, limit: 100 });
    expect(await world.ledger.claimed(runs.map((run) => run.id))).toEqual([false, false, false]);
    const component = await world.start({ config: { marginMs } });
    expect(await component.reconcile()).toEqual({ paths: 1, found: 0, failed: 0 });
    expect(await world.allRuns('thumb')).toEqual([]);
  });

  test.runIf(process.platform === 'linux')('a floor stays below what has no run yet', async () => {
    await world.createService('thumb', ['photos/in'], 0);
    const handle = await open(world.path('photos/in/slow'), 'w');
    await handle.write('x');
    const changed = (await world.objects.head('photos', 'in/slow'))?.changedAt ?? 0;
    const component = await world.start({ config: { marginMs: 50, reconcileIntervalMs: 10 } });
    await eventually('some passes after its margin', async () => {
      const { found } = await component.reconcile();
      return found === 0 && Date.now() > changed + 500;
    });
    expect(await world.definitions.lowestFloor()).toBeLessThan(changed);
    await handle.close();
    await world.runs('thumb', 1);
    await eventually('the floor rises', async () => ((await world.definitions.lowestFloor()) ?? 0) > changed);
  });

  test('a floor that lies ahead, because the clock was set back, hides nothing that comes', async () => {
    await mkdir(world.path('photos/in'), { recursive: true });
    await writeFile(world.path('photos/in/before'), 'x');
    const ahead = Date.now() + hour;
    await world.createService('thumb', ['photos/in'], ahead);
    const component = await world.start({ source: silentSource });
    await component.reconcile();
    await writeFile(world.path('photos/in/after'), 'x');
    await eventually('it is found', async () => (await component.reconcile()).found > 0);
    expect(keysOf(await world.allRuns('thumb'))).toEqual(['in/after']);
    // With events, that holds from the first moment.
    await world.createService('other', ['other/in'], ahead);
    await world.start();
    let files = 0;
    await eventually('its folder is watched', async () => {
      files += 1;
      await writeFile(world.path('other/in', `live-${files}`), 'x');
      return (await world.allRuns('other')).length > 0;
    });
  });

  test('a floor does not rise by a clock that jumps', async () => {
    const stored = await world.createService('thumb', ['photos/in']);
    const [floor] = await world.definitions.floors(stored.uid);
    let jumped = 0;
    const jumping = { ...world.objects, now: async () => (await world.objects.now()) + jumped };
    const component = await world.start({ objects: jumping, config: { marginMs: 1000 } });
    await component.reconcile();
    jumped = 1000 * hour;
    await component.reconcile();
    expect(await world.definitions.floors(stored.uid)).toEqual([floor]);
    // What goes on steadily counts again.
    await component.reconcile();
    expect((await world.definitions.floors(stored.uid))[0]?.at).toBeGreaterThan(floor?.at ?? 0);
  });

  test('files from a time ahead of the clock are run', async () => {
    await world.createService('thumb', ['photos/in']);
    await writeFile(world.path('photos/in/a'), 'x');
    const behind = { ...world.objects, now: async () => (await world.objects.now()) - hour };
    await world.start({ source: silentSource, objects: behind, config: { reconcileIntervalMs: 30 } });
    // The floor lies ahead of this clock too; an hour from now everything would be hidden behind it.
    expect(keysOf(await world.runs('thumb', 1))).toEqual(['in/a']);
  });
});
