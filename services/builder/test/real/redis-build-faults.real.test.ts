import { fakeClock } from '@sluice/shared/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { BuildStore, StoredBuild } from '../../src/index.ts';
import { startRedis } from './redis-server.ts';
import { buildOf, createOne, keysOf, openStore, roomy, ticketOf } from './store-fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const clock = fakeClock();
const failure = { state: 'failed', code: 'x', message: 'x' } as const;

async function ownStore(
  settings: readonly string[],
): Promise<{ readonly store: BuildStore; readonly url: string }> {
  const server = await startRedis(settings);
  cleanups.push(server.close);
  const { store, close } = await openStore(clock, 'ns', server.url);
  cleanups.push(close);
  return { store, url: server.url };
}

describe('a Redis whose memory is full', () => {
  it('refuses whole builds and keeps none in part, and builds that end make room', async () => {
    const { store, url } = await ownStore(['--maxmemory', '8mb']);
    const file = 'x'.repeat(300_000);
    const builds: StoredBuild[] = [];
    let refusal: unknown;
    while (refusal === undefined && builds.length < roomy.userOpen) {
      try {
        builds.push((await createOne(store, buildOf({ file }))).build);
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toMatchObject({ code: 'storage_full', retry: 'later' });
    expect(builds.length).toBeGreaterThan(5);
    await expect(store.put(ticketOf({ state: 'failed', ended_at: 1, message: file }))).rejects.toMatchObject({
      code: 'storage_full',
    });
    expect(await store.counts()).toEqual({ queued: builds.length, running: 0 });
    expect(await store.open()).toHaveLength(builds.length);
    expect((await store.tickets('anna', { limit: 100 })).tickets).toHaveLength(builds.length);
    // What frees memory is not refused.
    const [first, ...others] = builds;
    const dropped = await store.cancel('anna', first?.tickets[0] ?? '', 'x');
    expect(dropped?.abandoned).toBe(first?.id);
    for (const { id } of others) expect((await store.end(id, failure)).ended).toHaveLength(1);
    await createOne(store, buildOf({ file }));
    for (const { id } of await store.open()) await store.end(id, failure);
    clock.advance(1);
    expect((await store.removeEnded(clock.now())).removed).toBe(builds.length + 1);
    expect(await keysOf('ns', url)).toEqual([]);
  });
});
