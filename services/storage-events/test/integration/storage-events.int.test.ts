import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { objectRunId } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { eventually } from '@sluice/shared/testing';
import { splitPath } from '@sluice/shared/stores';
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

describe('a file', () => {
  test('becomes one run, queued with its start message, that any finder would give it', async () => {
    const service = await world.createService('thumb', ['photos/in']);
    await world.start();
    await writeFile(world.path('photos/in/a b.txt'), 'hello');
    const [run, ...others] = await world.runs('thumb', 1);
    const head = await world.objects.head('photos', 'in/a b.txt');
    expect(others).toEqual([]);
    expect(run).toMatchObject({
      id: objectRunId('thumb', service.uid, {
        bucket: 'photos',
        key: 'in/a b.txt',
        identity: head?.identity ?? '',
      }),
      service: 'thumb',
      service_uid: service.uid,
      state: 'queued',
      attempt: 1,
      source: 'notification',
      input: { bucket: 'photos', key: 'in/a b.txt', size: 5, etag: head?.etag },
      hop: 0,
    });
    expect(run?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const data = run?.event.kind === 'inline' ? (JSON.parse(run.event.data) as object) : {};
    expect(data).toMatchObject({
      EventName: 's3:ObjectCreated:Put',
      Key: 'photos/in/a b.txt',
      Records: [
        {
          eventSource: 'minio:s3',
          s3: { bucket: { name: 'photos' }, object: { key: 'in%2Fa+b.txt', size: 5 } },
        },
      ],
    });
    const outbox = await world.ledger.readOutbox(10);
    expect(outbox.map(({ message }) => message.name).toSorted()).toEqual(['runs.queued', 'runs.start']);
  });

  test('is run by every service that shares its folder, and by no service twice', async () => {
    await world.createService('one', ['photos/in']);
    await world.createService('two', ['photos/in', 'photos/in/deep']);
    const component = await world.start();
    await writeFile(world.path('photos/in/a'), 'x');
    await mkdir(world.path('photos/in/deep'), { recursive: true });
    await writeFile(world.path('photos/in/deep/b'), 'x');
    await world.runs('one', 2);
    await world.runs('two', 2);
    expect(await component.reconcile()).toEqual({ paths: 2, found: 0, failed: 0 });
    expect(keysOf(await world.allRuns('one'))).toEqual(['in/a', 'in/deep/b']);
    expect(keysOf(await world.allRuns('two'))).toEqual(['in/a', 'in/deep/b']);
  });

  test('written through the store carries trace and hops into its run', async () => {
    await world.createService('next', ['photos/in']);
    await world.start();
    const trace = '0123456789abcdef0123456789abcdef';
    await world.objects.put('photos', 'in/out.txt', Buffer.from('x'), {
      metadata: {
        traceparent: `00-${trace}-0123456789abcdef-01`,
        'sluice-hop': '4',
        'sluice-run': 'first-1',
      },
    });
    const [run] = await world.runs('next', 1);
    expect(run).toMatchObject({ hop: 4 });
    expect(run?.traceparent).toMatch(new RegExp(`^00-${trace}-`));
    expect(run?.traceparent).not.toContain('0123456789abcdef-01');
  });
});

test('3,000 files at once: 3,000 claims, none twice, although a listing runs meanwhile', async () => {
  await world.createService('many', ['photos/in']);
  const component = await world.start();
  const files = Array.from({ length: 3000 }, (_, n) => `f${n}`);
  const written = Promise.all(files.map((name) => writeFile(world.path('photos/in', name), name)));
  await component.reconcile();
  await written;
  await component.reconcile();
  const runs = await world.runs('many', files.length);
  expect(new Set(keysOf(runs))).toEqual(new Set(files.map((name) => `in/${name}`)));
  expect(runs.length).toBe(files.length);
  expect((await component.reconcile()).found).toBe(0);
  expect(await world.metric('sluice_storage_events_claims_total', { result: 'claimed' })).toBe(files.length);
});

describe('what no notification told of', () => {
  test('is found at the next start', async () => {
    await world.createService('thumb', ['photos/in']);
    await world.start();
    await writeFile(world.path('photos/in/before'), 'x');
    await world.runs('thumb', 1);
    await world.stop();
    await writeFile(world.path('photos/in/meanwhile'), 'x');
    await world.start();
    const runs = await world.runs('thumb', 2);
    expect(keysOf(runs)).toEqual(['in/before', 'in/meanwhile']);
  });

  test('is found, once, when the ledger fails between two steps and the process with it', async () => {
    await world.createService('thumb', ['photos/in']);
    let claims = 0;
    const failing = {
      ...world.ledger,
      claim: async (runs: Parameters<typeof world.ledger.claim>[0]) => {
        claims += 1;
        // Stored, and nobody hears of it: as after a kill between the commit and its answer.
        await world.ledger.claim(runs.slice(0, 3));
        throw new AppError('unavailable', 'the ledger is away');
      },
    };
    await world.start({ ledger: failing });
    for (const name of ['a', 'b', 'c', 'd', 'e']) await writeFile(world.path('photos/in', name), name);
    await eventually('claims were tried', () => claims > 1);
    await world.start();
    const runs = await world.runs('thumb', 5);
    expect(keysOf(runs)).toEqual(['in/a', 'in/b', 'in/c', 'in/d', 'in/e']);
  });

  test('is found at each interval, and by several components at once it is still one run', async () => {
    await world.createService('thumb', ['photos/in']);
    await world.start({ source: silentSource, config: { reconcileIntervalMs: 30 } });
    await writeFile(world.path('photos/in/a'), 'x');
    await world.runs('thumb', 1);
    expect(await world.metric('sluice_storage_events_reconcile_passes_total')).toBeGreaterThan(1);
  });

  test('is found in pages, in bits and in folders', async () => {
    await world.createService('thumb', ['photos/in'], 0);
    await mkdir(world.path('photos/in/sub/deep'), { recursive: true });
    const names = Array.from({ length: 4100 }, (_, n) => (n % 3 === 0 ? `sub/deep/f${n}` : `f${n}`));
    await Promise.all(names.map((name) => writeFile(world.path('photos/in', name), '')));
    await writeFile(world.path('photos/in/.hidden'), '');
    const component = await world.start({ source: silentSource, config: { settleMs: 0 } });
    await component.reconcile();
    expect(keysOf(await world.allRuns('thumb'))).toEqual(names.map((name) => `in/${name}`).toSorted());
    expect((await component.reconcile()).found).toBe(0);
  });

  test.runIf(process.platform === 'linux')('is left alone while somebody writes to it', async () => {
    await world.createService('thumb', ['photos/in'], 0);
    const handle = await open(world.path('photos/in/slow'), 'w');
    await handle.write('first');
    await writeFile(world.path('photos/in/other'), 'x');
    const component = await world.start();
    await eventually('the other one is found', async () => {
      await component.reconcile();
      return (await world.allRuns('thumb')).length > 0;
    });
    await component.reconcile();
    expect(keysOf(await world.allRuns('thumb'))).toEqual(['in/other']);
    await handle.write(', second');
    await handle.close();
    const runs = await world.runs('thumb', 2);
    await component.reconcile();
    expect(runs.find((run) => run.input?.key === 'in/slow')?.input?.size).toBe('first, second'.length);
    expect((await world.allRuns('thumb')).length).toBe(2);
  });
});

describe('definitions that change', () => {
  test('a new service runs what comes after it, at once, and not what was there', async () => {
    await world.createService('first', ['photos/in']);
    await world.start();
    await writeFile(world.path('photos/in/old'), 'x');
    await world.runs('first', 1);
    await world.createService('second', ['photos/in', 'elsewhere/in']);
    await writeFile(world.path('photos/in/new'), 'x');
    await writeFile(world.path('elsewhere/in/other'), 'x');
    expect(keysOf(await world.runs('second', 2))).toEqual(['in/new', 'in/other']);
    expect(keysOf(await world.runs('first', 2))).toEqual(['in/new', 'in/old']);
  });

  test('a file that lands while its service is being made is run', async () => {
    await world.start();
    await mkdir(world.path('photos/in'), { recursive: true });
    const at = await world.objects.now();
    await writeFile(world.path('photos/in/a'), 'x');
    await world.createService('thumb', ['photos/in'], at);
    await writeFile(world.path('photos/in/b'), 'x');
    expect(keysOf(await world.runs('thumb', 2))).toEqual(['in/a', 'in/b']);
  });

  test('a new input path counts from its own floor; one that is dropped counts no more', async () => {
    const stored = await world.createService('thumb', ['photos/in']);
    await mkdir(world.path('photos/more'));
    await writeFile(world.path('photos/more/old'), 'x');
    const component = await world.start();
    const at = await world.objects.now();
    await world.definitions.update(
      { uid: stored.uid, version: 1 },
      {
        definition: {
          ...stored.definition,
          input: [{ storage_provider: 'minio.default', path: 'photos/more' }],
        },
        secrets: { token: 'a'.repeat(64), environment: {} },
        floors: [{ ...splitPath('photos/more'), at }],
      },
    );
    await writeFile(world.path('photos/more/new'), 'x');
    await world.runs('thumb', 1);
    await writeFile(world.path('photos/in/dropped'), 'x');
    await writeFile(world.path('photos/more/new2'), 'x');
    await world.runs('thumb', 2);
    await component.reconcile();
    expect(keysOf(await world.allRuns('thumb'))).toEqual(
      ['in/new', 'in/new2'].map((key) => key.replace('in', 'more')),
    );
  });

  test('a service that is deleted runs nothing more; made again it does not run what was there', async () => {
    await world.createService('thumb', ['photos/in']);
    const component = await world.start();
    await writeFile(world.path('photos/in/a'), 'x');
    await world.runs('thumb', 1);
    await world.definitions.remove('thumb');
    await writeFile(world.path('photos/in/b'), 'x');
    const again = await world.createService('thumb', ['photos/in']);
    await writeFile(world.path('photos/in/c'), 'x');
    await eventually('the new one runs', async () =>
      (await world.allRuns('thumb')).some((run) => run.service_uid === again.uid),
    );
    await component.reconcile();
    const runs = (await world.allRuns('thumb')).filter((run) => run.service_uid === again.uid);
    expect(keysOf(runs)).toEqual(['in/c']);
  });
});

describe('hops', () => {
  const put = async (key: string, hop: number): Promise<void> => {
    await world.objects.put('photos', key, Buffer.from(key), { metadata: { 'sluice-hop': String(hop) } });
  };

  test('past 16 an object gets a dead letter instead of a run, once; redriven, it is run', async () => {
    await world.createService('loop', ['photos/in']);
    const component = await world.start();
    await put('in/far', 17);
    await put('in/near', 16);
    expect(keysOf(await world.runs('loop', 1))).toEqual(['in/near']);
    await eventually('a dead letter', async () => (await world.bus.deadLetters.count()) > 0);
    await component.reconcile();
    await (await world.start()).reconcile();
    await eventually('the next process refused it too', async () => {
      return (await world.metric('sluice_storage_events_claims_total', { result: 'refused' })) > 0;
    });
    const { items } = await world.bus.deadLetters.list({ limit: 10 });
    expect(items).toMatchObject([
      { name: 'backfills.start', key: 'loop', payload: { object: { bucket: 'photos', key: 'in/far' } } },
    ]);
    expect(items[0]?.reason).toContain('16 services');
    await world.bus.deadLetters.redrive(items[0]?.id ?? '');
    const runs = await world.runs('loop', 2);
    expect(runs.find((run) => run.input?.key === 'in/far')).toMatchObject({ hop: 0, source: 'backfill' });
    expect(await world.bus.deadLetters.count()).toBe(0);
  });

  test('with no room for its dead letter it holds nothing up', async () => {
    await world.createService('loop', ['photos/in']);
    const full = {
      ...world.bus,
      deadLetters: {
        ...world.bus.deadLetters,
        put: async () => {
          throw new AppError('limit_reached', 'full');
        },
      },
    };
    await world.start({ bus: full });
    await put('in/far', 99);
    await put('in/near', 1);
    expect(keysOf(await world.runs('loop', 1))).toEqual(['in/near']);
    expect(await world.metric('sluice_storage_events_claims_total', { result: 'postponed' })).toBe(1);
  });
});

describe('faults', () => {
  test('a path that cannot be listed is tried again, is seen in check, and holds up no other', async () => {
    await world.createService('bad', ['broken/in'], 0);
    await world.createService('good', ['photos/in'], 0);
    await writeFile(world.path('broken/in/a'), 'x');
    await writeFile(world.path('photos/in/a'), 'x');
    let broken = true;
    const objects = {
      ...world.objects,
      list: async (...query: Parameters<typeof world.objects.list>) => {
        if (broken && query[0] === 'broken') throw new AppError('unavailable', 'the disk is on fire');
        return world.objects.list(...query);
      },
    };
    const component = await world.start({
      source: silentSource,
      objects,
      config: { reconcileIntervalMs: 30 },
    });
    await world.runs('good', 1);
    expect(await component.reconcile()).toMatchObject({ paths: 2, failed: 1 });
    await expect(component.check()).rejects.toThrow(/broken\/in\/: the disk is on fire/);
    expect(await world.metric('sluice_storage_events_failing_paths')).toBe(1);
    broken = false;
    await world.runs('bad', 1);
    await component.check();
  });

  test('a bucket that is gone is an empty one', async () => {
    await world.createService('thumb', ['photos/in']);
    await rm(world.path('photos'), { recursive: true });
    const component = await world.start();
    expect(await component.reconcile()).toEqual({ paths: 1, found: 0, failed: 0 });
    await component.check();
    await mkdir(world.path('photos/in'), { recursive: true });
    await writeFile(world.path('photos/in/a'), 'x');
    await world.runs('thumb', 1);
  });

  test('notifications wait for a ledger that is away', async () => {
    await world.createService('thumb', ['photos/in']);
    let away = true;
    const ledger = {
      ...world.ledger,
      claim: async (runs: Parameters<typeof world.ledger.claim>[0]) => {
        if (away) throw new AppError('unavailable', 'away');
        return world.ledger.claim(runs);
      },
    };
    await world.start({ ledger });
    await writeFile(world.path('photos/in/a'), 'x');
    await world.objects.put('photos', 'in/b', Buffer.from('x'));
    away = false;
    expect(keysOf(await world.runs('thumb', 2))).toEqual(['in/a', 'in/b']);
  });

  test('before its start and after its stop it is not healthy', async () => {
    const component = await world.start();
    await component.check();
    await component.stop();
    await component.stop();
    await expect(component.check()).rejects.toThrow('not running');
  });
});
