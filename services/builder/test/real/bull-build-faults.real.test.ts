import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { buildOf, createOne, openStore, roomy } from './store-fixture.ts';
import { openQueue, type QueueWorld, spawnWorker, type WorkerChild } from './bull-fixture.ts';
import { startRedis } from './redis-server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function world(url?: string): QueueWorld {
  const opened = openQueue({}, url);
  cleanups.push(opened.close);
  return opened;
}

function child(namespace: string): WorkerChild {
  const worker = spawnWorker(namespace);
  cleanups.push(worker.kill);
  return worker;
}

/** A process that starts on a busy machine takes its time. */
const patienceMs = 40_000;

describe('a worker that dies', () => {
  it('loses its build to another one', async () => {
    const { queue, workers, namespace } = world();
    const dying = child(namespace);
    const id = randomUUID();
    await queue.add({ id, order: 1 });
    await eventually('the process has it', () => dying.said.includes(`has ${id}`), patienceMs);
    const seen: unknown[] = [];
    await workers(async (id, attempt) => {
      seen.push({ id, attempt });
      return { kind: 'done' };
    });
    await dying.kill();
    await eventually('another one has it', () => seen.length === 1, patienceMs);
    expect(seen).toEqual([{ id, attempt: { number: 1, last: false } }]);
    await eventually('it is done', async () => (await queue.depth()).active === 0);
  });

  it('is told to leave its build where it only stood still', async () => {
    const { queue, workers, namespace } = world();
    const still = child(namespace);
    const id = randomUUID();
    await queue.add({ id, order: 1 });
    await eventually('the process has it', () => still.said.includes(`has ${id}`), patienceMs);
    still.signal('SIGSTOP');
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const seen: string[] = [];
    await workers(async (id) => {
      seen.push(id);
      await go;
      return { kind: 'done' };
    });
    await eventually('another one has it', () => seen.length === 1, patienceMs);
    still.signal('SIGCONT');
    await eventually('the first one is told', () => still.said.includes(`aborted ${id}`), patienceMs);
    // That it is done with it says nothing about the build.
    expect(await queue.depth()).toEqual({ waiting: 0, active: 1 });
    letGo();
    await eventually('it is done', async () => (await queue.depth()).active === 0);
    expect(seen).toEqual([id]);
  });
});

describe('a Redis that is killed', () => {
  it('lost no build, and workers go on by themselves', async () => {
    const server = await startRedis();
    cleanups.push(server.close);
    const { queue, workers, namespace } = world(server.url);
    const { store, close } = await openStore(systemClock, namespace, server.url);
    cleanups.push(close);
    const ids: string[] = [];
    for (let count = 0; count < 30; count += 1) {
      const { build } = await createOne(store, buildOf({ user: count % 2 === 0 ? 'anna' : 'otto' }));
      await queue.add(build);
      ids.push(build.id);
    }
    const done = new Set<string>();
    const work: Parameters<typeof workers>[0] = async (id, _attempt, signal) => {
      try {
        const build = await store.begin(id, roomy);
        if (typeof build === 'string') return build === 'unwanted' ? { kind: 'done' } : { kind: 'later' };
        const { ended } = await store.end(
          id,
          { state: 'succeeded', digest: 'sha256:1', size: 1 },
          build.tickets,
        );
        if (ended.length > 0) done.add(id);
        return { kind: 'done' };
      } catch (error) {
        if (signal.aborted || !(error instanceof Error)) throw error;
        return { kind: 'again', error };
      }
    };
    await workers(work);
    await workers(work);
    await eventually('some are done', () => done.size >= 5);
    await server.kill();
    await expect(queue.add({ id: randomUUID(), order: 1 })).rejects.toMatchObject({ code: 'unavailable' });
    await expect(queue.check()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.check()).rejects.toMatchObject({ code: 'unavailable' });
    await server.start();
    await eventually(
      'all builds have ended',
      async () => {
        try {
          return (await store.open()).length === 0;
        } catch {
          return false;
        }
      },
      60_000,
    );
    for (const id of ids) expect(await store.build(id)).toMatchObject({ state: 'succeeded' });
    await eventually('the queue is empty', async () => {
      const { waiting, active } = await queue.depth();
      return waiting + active === 0;
    });
  }, 120_000);

  it('is told fast to who gives builds, from the start, and found when it comes', async () => {
    const server = await startRedis();
    cleanups.push(server.close);
    await server.kill();
    const { queue, workers } = world(server.url);
    const build = { id: randomUUID(), order: 1 };
    const asked = performance.now();
    await expect(queue.add(build)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(queue.pause()).rejects.toMatchObject({ code: 'unavailable' });
    expect(performance.now() - asked).toBeLessThan(3000);
    const seen: string[] = [];
    await workers(async (id) => {
      seen.push(id);
      return { kind: 'done' };
    });
    await server.start();
    await eventually('it takes builds', async () => {
      try {
        await queue.add(build);
        return true;
      } catch {
        return false;
      }
    });
    await eventually('it gives builds', () => seen.length === 1);
  }, 60_000);

  it('does not keep a worker from stopping', async () => {
    const server = await startRedis();
    cleanups.push(server.close);
    const { queue, workers } = world(server.url);
    let began = 0;
    const working = await workers(async (_id, _attempt, signal) => {
      began += 1;
      await once(signal, 'abort');
      return { kind: 'done' };
    });
    await queue.add({ id: randomUUID(), order: 1 });
    await eventually('it is in hand', () => began === 1);
    await server.kill();
    const asked = performance.now();
    await working.stop(100);
    expect(performance.now() - asked).toBeLessThan(15_000);
    await server.start();
  }, 60_000);
});
