import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { AppError } from '@sluice/shared/errors';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildOf, createOne, keysOf, openStore, redisUrl, roomy, withClient } from './store-fixture.ts';
import { openQueue, type QueueWorld, type Work } from './bull-fixture.ts';

let world: QueueWorld;
beforeEach(() => {
  world = openQueue();
});
afterEach(async () => world.close());

async function idle(): Promise<void> {
  await eventually('nothing waits or runs', async () => {
    const { waiting, active } = await world.queue.depth();
    return waiting + active === 0;
  });
}

/** Adds builds of these orders before any begins. */
async function addPaused(orders: readonly number[]): Promise<readonly string[]> {
  await world.queue.pause();
  const builds = orders.map((order) => ({ id: randomUUID(), order }));
  for (const build of builds) await world.queue.add(build);
  return builds.map(({ id }) => id);
}

describe('the queue of builds', () => {
  it('gives each build to one worker, the lowest order first', async () => {
    const ids = await addPaused([3, 1, 2_097_151, 2, 1]);
    await world.queue.add({ id: ids[0] ?? '', order: 1 });
    const seen: string[] = [];
    await world.workers(async (id) => {
      seen.push(id);
      return { kind: 'done' };
    });
    await world.queue.resume();
    await idle();
    expect(seen).toEqual([ids[1], ids[4], ids[3], ids[0], ids[2]]);
    // Nothing is left of them, so that they can come again.
    expect((await keysOf(world.namespace)).filter((key) => ids.some((id) => key.includes(id)))).toEqual([]);
    await world.queue.add({ id: ids[0] ?? '', order: 1 });
    await eventually('it came again', () => seen.length === 6);
  });

  it('takes out what waits, and leaves what is under way', async () => {
    const [first = '', second = ''] = await addPaused([1, 2]);
    await world.queue.resume();
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const seen: string[] = [];
    await world.workers(async (id) => {
      seen.push(id);
      await go;
      return { kind: 'done' };
    });
    await eventually('the first is under way', () => seen.length === 1);
    expect(await world.queue.depth()).toEqual({ waiting: 1, active: 1 });
    await world.queue.remove(second);
    await world.queue.remove(first);
    await world.queue.remove(randomUUID());
    expect(await world.queue.depth()).toEqual({ waiting: 0, active: 1 });
    letGo();
    await idle();
    expect(seen).toEqual([first]);
  });

  it('is paused for the workers of all processes; those under way go on', async () => {
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const seen: string[] = [];
    const work: Work = async (id) => {
      seen.push(id);
      await go;
      return { kind: 'done' };
    };
    await world.workers(work);
    await world.workers(work);
    for (const order of [1, 2]) await world.queue.add({ id: randomUUID(), order });
    await eventually('both workers have one', () => seen.length === 2);
    await addPaused([3, 4]);
    letGo();
    // Each of them asked for its next build when its first one was done.
    await eventually('both are done', async () => (await world.queue.depth()).active === 0);
    expect(await world.queue.depth()).toEqual({ waiting: 2, active: 0 });
    expect(seen).toHaveLength(2);
    await world.queue.resume();
    await idle();
    expect(seen).toHaveLength(4);
  });

  it('refuses ids that it could not keep apart from its own', async () => {
    for (const id of ['a:b', '123', '', 'a b'])
      await expect(world.queue.add({ id, order: 1 })).rejects.toThrow('cannot take');
    await expect(world.queue.set('build', 1000)).rejects.toThrow('no name');
  });

  it('lets users take turns', async () => {
    const { store, close } = await openStore(systemClock, world.namespace);
    try {
      await world.queue.pause();
      const users = ['a', 'b', 'c', 'd', 'e'];
      // The first user is there with all of its builds before the others come.
      for (const user of users) {
        for (let count = 0; count < 4; count += 1) {
          const { build } = await createOne(store, buildOf({ user }));
          await world.queue.add(build);
        }
      }
      const seen: string[] = [];
      await world.workers(async (id) => {
        const build = await store.begin(id, roomy);
        if (typeof build === 'string') throw new Error(build);
        seen.push(build.spec.user);
        await store.end(id, { state: 'failed', code: 'x', message: 'x' });
        return { kind: 'done' };
      });
      await world.queue.resume();
      await idle();
      expect(seen).toEqual([...users, ...users, ...users, ...users]);
    } finally {
      await close();
    }
  });
});

describe('what becomes of a build after a try', () => {
  it('comes later in its place, and that is no try', async () => {
    const laterMs = 100;
    const [first, second, third] = await addPaused([1, 2, 3]);
    const seen: (string | undefined)[] = [];
    let due = 0;
    const work: Work = async (id, attempt) => {
      seen.push(id);
      expect(attempt.number).toBe(1);
      if (id === first && seen.length === 1) {
        due = performance.now() + laterMs + 20;
        return { kind: 'later' };
      }
      if (id === second) await eventually('the first may come again', () => performance.now() > due);
      return { kind: 'done' };
    };
    await world.workers(work, { laterMs });
    await world.queue.resume();
    await idle();
    expect(seen).toEqual([first, second, first, third]);
  });

  it('is tried again a few times, and knows the last', async () => {
    await world.close();
    world = openQueue({ attempts: 3 });
    const attempts: unknown[] = [];
    await world.workers(async (_id, attempt) => {
      attempts.push(attempt);
      return { kind: 'again', error: new AppError('unavailable', 'the registry is away') };
    });
    const build = { id: randomUUID(), order: 1 };
    await world.queue.add(build);
    await eventually('it was tried', () => attempts.length === 3);
    await idle();
    expect(attempts).toEqual([
      { number: 1, last: false },
      { number: 2, last: false },
      { number: 3, last: true },
    ]);
    await world.queue.add(build);
    await eventually('it can be added again', () => attempts.length === 6);
  });

  it('is tried again where the worker has a bug, and not where it cannot be helped', async () => {
    await world.close();
    world = openQueue({ attempts: 2 });
    const bug = randomUUID();
    const hopeless = randomUUID();
    const seen: string[] = [];
    await world.workers(async (id) => {
      seen.push(id);
      if (id === bug) throw new TypeError('x is not a function');
      throw new AppError('invalid_input', 'there is no such kind');
    });
    await world.queue.add({ id: bug, order: 1 });
    await world.queue.add({ id: hopeless, order: 1 });
    await eventually('all was tried', () => seen.length >= 3);
    await idle();
    expect(seen.toSorted()).toEqual([bug, bug, hopeless].toSorted());
  });
});

describe('workers that stop', () => {
  it('wait for what is in hand, and take no more', async () => {
    const seen: string[] = [];
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const workers = await world.workers(async (id, _attempt, signal) => {
      seen.push(id);
      await go;
      expect(signal.aborted).toBe(false);
      return { kind: 'done' };
    });
    for (const order of [1, 2]) await world.queue.add({ id: randomUUID(), order });
    await eventually('one is in hand', () => seen.length === 1);
    const stopped = workers.stop(30_000);
    letGo();
    await stopped;
    expect(seen).toHaveLength(1);
    expect(await world.queue.depth()).toEqual({ waiting: 1, active: 0 });
  });

  it('abort what takes too long and give it to others, also while they wait for work', async () => {
    const id = randomUUID();
    let began = 0;
    const workers = await world.workers(async (_id, _attempt, signal) => {
      began += 1;
      await once(signal, 'abort');
      return { kind: 'again', error: new AppError('cancelled', 'aborted') };
    });
    await world.queue.add({ id, order: 7 });
    await eventually('it is in hand', () => began === 1);
    const others: unknown[] = [];
    await world.workers(async (id, attempt) => {
      others.push({ id, number: attempt.number });
      return { kind: 'done' };
    });
    await workers.stop(0);
    await eventually('the other worker has it', () => others.length === 1);
    expect(others).toEqual([{ id, number: 1 }]);
    await idle();
  });

  it('do not wait for ever for what does not end', async () => {
    let began = 0;
    const never = new Promise<never>(() => undefined);
    const workers = await world.workers(async () => {
      began += 1;
      return never;
    });
    const id = randomUUID();
    await world.queue.add({ id, order: 1 });
    await eventually('it is in hand', () => began === 1);
    await workers.stop(0);
    const others: string[] = [];
    await world.workers(async (id) => {
      others.push(id);
      return { kind: 'done' };
    });
    await eventually('another worker has it', () => others.length === 1);
    expect(others).toEqual([id]);
  }, 60_000);
});

describe('schedules', () => {
  it('run a task once for all processes, until they are taken away', async () => {
    const runs: number[] = [];
    let under = 0;
    const tasks = {
      retain: async (): Promise<void> => {
        under += 1;
        runs.push(under);
        if (runs.length === 2) throw new AppError('unavailable', 'the registry is away');
        under -= 1;
      },
    };
    const none: Work = async () => ({ kind: 'done' });
    await world.workers(none, { tasks });
    await world.workers(none, { tasks });
    const start = performance.now();
    // As each process does when it starts.
    await world.queue.set('retain', 100);
    await world.queue.set('retain', 100);
    await eventually('it ran, also after it failed', () => runs.length >= 5);
    expect(runs.length).toBeLessThanOrEqual((performance.now() - start) / 100 + 2);
    // They are no builds.
    expect((await world.queue.depth()).waiting).toBe(0);
    await world.queue.set('retain', undefined);
    await world.queue.set('retain', undefined);
    await eventually('none is left', async () =>
      withClient(redisUrl(), async (client) => {
        const place = `{${world.namespace}}:bull:builds`;
        const left = [
          await client.zcard(`${place}:delayed`),
          await client.zcard(`${place}:repeat`),
          await client.llen(`${place}:active`),
        ];
        return left.every((count) => count === 0);
      }),
    );
  });

  it('begin anew at another pace', async () => {
    let runs = 0;
    await world.workers(async () => ({ kind: 'done' }), {
      tasks: {
        collect: async () => {
          runs += 1;
        },
      },
    });
    await world.queue.set('collect', 3_600_000);
    await eventually('it ran at once', () => runs === 1);
    await world.queue.set('collect', 500);
    await eventually('it runs often', () => runs >= 4, 30_000);
  });
});
