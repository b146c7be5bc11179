import { randomUUID } from 'node:crypto';
import { fakeClock } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BuildLimits, BuildStore } from '../../src/index.ts';
import {
  buildOf,
  createOne,
  joinOne,
  keysOf,
  openStore,
  roomy,
  type StoreWorld,
  ticketOf,
} from './store-fixture.ts';

const clock = fakeClock();
let world: StoreWorld;
let store: BuildStore;

beforeEach(async () => {
  world = await openStore(clock);
  ({ store } = world);
});
afterEach(async () => world.close());

const success = { state: 'succeeded', digest: `sha256:${'b'.repeat(64)}`, size: 1234 } as const;
const failure = { state: 'failed', code: 'requirements_failed', message: 'pip did not find it' } as const;

describe('joining', () => {
  it('makes a build and its ticket, and gives both back whole', async () => {
    const asked = buildOf({ platforms: ['linux/arm64'] });
    const ticket = ticketOf({
      build: asked.id,
      base_digest: 'sha256:1',
      requirements: 'f'.repeat(64),
      created_at: 1234.5,
    });
    const joined = await store.join(ticket, asked, roomy);
    expect(joined).toEqual({
      kind: 'created',
      ticket,
      build: {
        ...asked,
        state: 'queued',
        order: 1,
        createdAt: clock.now(),
        startedAt: undefined,
        endedAt: undefined,
        tickets: [ticket.id],
        progress: undefined,
        message: undefined,
        digest: undefined,
        size: undefined,
        lost: 0,
      },
    });
    expect(await store.ticket('anna', ticket.id)).toEqual(ticket);
    expect(await store.ticket('otto', ticket.id)).toBeUndefined();
    expect(await store.build(asked.id)).toEqual(joined.kind === 'created' ? joined.build : undefined);
    expect(await store.build(randomUUID())).toBeUndefined();
  });

  it('tells an empty requirements file from none', async () => {
    const { build: empty } = await createOne(store, buildOf({ file: '' }));
    const { build: none } = await createOne(store, buildOf({ file: undefined }));
    expect((await store.build(empty.id))?.spec.file).toBe('');
    expect((await store.build(none.id))?.spec.file).toBeUndefined();
  });

  it('joins what is being built already, and one ticket once', async () => {
    const first = await createOne(store);
    const second = ticketOf({ created_at: 5000 });
    clock.advance(1);
    const joined = await store.join(second, { ...buildOf(), key: first.build.key }, roomy);
    expect(joined).toMatchObject({ kind: 'joined', build: { id: first.build.id, order: 1 } });
    expect(joined).toMatchObject({ ticket: { build: first.build.id, state: 'queued' } });
    const again = await store.join(second, buildOf(), roomy);
    expect(again).toMatchObject({ kind: 'known', ticket: { id: second.id, build: first.build.id } });
    expect((await store.build(first.build.id))?.tickets).toEqual([first.ticket.id, second.id]);
    expect(await store.counts()).toEqual({ queued: 1, running: 0 });
  });

  it('makes one build of many that ask at the same time', async () => {
    const key = randomUUID();
    const joins = await Promise.all(Array.from({ length: 20 }, async () => joinOne(store, buildOf({ key }))));
    expect(joins.filter(({ kind }) => kind === 'created')).toHaveLength(1);
    expect(joins.filter(({ kind }) => kind === 'joined')).toHaveLength(19);
    const builds = await store.open();
    expect(builds).toHaveLength(1);
    expect(builds[0]?.tickets).toHaveLength(20);
    expect(builds[0]?.spec.file).toBeUndefined();
  });

  it('makes a new one where it is forced to, and others join the newest', async () => {
    const first = await createOne(store);
    const { key } = first.build;
    const { build: forced } = await createOne(store, buildOf({ key, force: true }), { created_at: 2000 });
    expect(forced.id).not.toBe(first.build.id);
    clock.advance(1);
    const { build: newest } = await createOne(store, buildOf({ key, force: true }));
    expect(await joinOne(store, buildOf({ key }))).toMatchObject({
      kind: 'joined',
      build: { id: newest.id },
    });
    await store.end(newest.id, failure);
    await store.end(first.build.id, failure);
    expect(await joinOne(store, buildOf({ key }))).toMatchObject({
      kind: 'joined',
      build: { id: forced.id },
    });
  });

  it('refuses a new build where too many are open, and never one that is there', async () => {
    const limits: BuildLimits = { userOpen: 2, totalOpen: 3, userRunning: 1 };
    const first = await createOne(store);
    await store.begin(first.build.id, limits);
    await createOne(store);
    expect(await joinOne(store, buildOf(), {}, limits)).toEqual({ kind: 'full', of: 'user', open: 2 });
    const same = { ...buildOf(), key: first.build.key };
    expect(await joinOne(store, same, {}, limits)).toMatchObject({ kind: 'joined' });
    await createOne(store, buildOf({ user: 'otto' }));
    const refused = ticketOf({ user: 'otto' });
    const asked = buildOf({ user: 'otto' });
    expect(await store.join(refused, asked, limits)).toEqual({ kind: 'full', of: 'total', open: 3 });
    expect(await store.ticket('otto', refused.id)).toBeUndefined();
    expect(await store.build(asked.id)).toBeUndefined();
    await store.end(first.build.id, failure);
    expect(await store.join(refused, asked, limits)).toMatchObject({ kind: 'created' });
  });

  it('lets a thousand tickets wait for one build and no more', async () => {
    const { build } = await createOne(store);
    const join = async (): Promise<unknown> => joinOne(store, { ...buildOf(), key: build.key });
    for (let count = 0; count < 999; count += 27) await Promise.all(Array.from({ length: 27 }, join));
    const more = await joinOne(store, { ...buildOf(), key: build.key });
    expect(more).toEqual({ kind: 'full', of: 'user', open: 1000 });
    expect((await store.end(build.id, failure)).ended).toHaveLength(1000);
  });

  it('keeps a file of 5 MB apart from its build, for as long as that is open', async () => {
    const file = 'x'.repeat(5 * 1024 * 1024);
    const { build } = await createOne(store, buildOf({ file }));
    expect((await store.build(build.id))?.spec.file).toBe(file);
    expect(await store.begin(build.id, roomy)).toMatchObject({ spec: { file } });
    await store.end(build.id, failure);
    expect((await store.build(build.id))?.spec.file).toBeUndefined();
    expect((await keysOf(world.namespace)).filter((key) => key.includes(':f:'))).toEqual([]);
  });
});

describe('turns', () => {
  it('lets users take turns, and begins anew when nothing is open', async () => {
    const order = async (user: string): Promise<number> =>
      (await createOne(store, buildOf({ user }))).build.order;
    const orders = [await order('anna'), await order('anna'), await order('anna'), await order('anna')];
    expect(orders).toEqual([1, 2, 3, 4]);
    expect([await order('otto'), await order('otto')]).toEqual([1, 2]);
    const waiting = await store.open();
    for (const { id, order } of waiting) if (order <= 3) await store.begin(id, roomy);
    // Those who come now are not served before those who wait for long.
    expect(await order('eva')).toBe(3);
    expect(await order('otto')).toBe(3);
    expect(await order('anna')).toBe(5);
    for (const { id } of await store.open()) await store.end(id, failure);
    expect(await order('eva')).toBe(1);
  });

  it('does not fall back when one begins that waited for its second try', async () => {
    const { build: early } = await createOne(store);
    const later = [await createOne(store), await createOne(store)];
    await store.begin(early.id, roomy);
    await store.again(early.id, 'the registry is away');
    for (const { build } of later) await store.begin(build.id, roomy);
    await store.begin(early.id, roomy);
    expect((await createOne(store, buildOf({ user: 'otto' }))).build.order).toBe(3);
  });

  it('never says more than the queue can take', async () => {
    const { build } = await createOne(store);
    const { Redis } = await import('ioredis');
    const client = new Redis(process.env['REDIS_URL'] ?? '');
    await client.zadd(`{${world.namespace}}:build:w:anna`, 2_097_150, build.id);
    client.disconnect();
    expect((await createOne(store)).build.order).toBe(2_097_151);
    expect((await createOne(store)).build.order).toBe(2_097_151);
  });
});

describe('work on a build', () => {
  it('is running with its tickets, tells its progress, and ends with all that are tagged', async () => {
    const { build, ticket } = await createOne(store);
    clock.advance(100);
    const startedAt = clock.now();
    const begun = await store.begin(build.id, roomy);
    expect(begun).toMatchObject({ id: build.id, state: 'running', startedAt, spec: build.spec });
    expect(await store.counts('anna')).toEqual({ queued: 0, running: 1 });
    expect(await store.counts('otto')).toEqual({ queued: 0, running: 0 });
    const progress = { done: 1, total: 3, step: '[1/3] FROM' };
    expect(await store.progress(build.id, progress, 'pulling')).toBe(true);
    const seen = await store.ticket('anna', ticket.id);
    expect(seen).toMatchObject({ state: 'running', started_at: startedAt, progress, message: 'pulling' });

    const joined = await joinOne(store, { ...buildOf(), key: build.key }, { created_at: startedAt + 50 });
    if (joined.kind !== 'joined') throw new Error(joined.kind);
    expect(joined.ticket).toMatchObject({ state: 'running', started_at: startedAt + 50 });
    const early = await store.end(build.id, success, [ticket.id]);
    expect(early).toMatchObject({ ended: [], untagged: [{ id: joined.ticket.id, state: 'running' }] });
    expect(await store.build(build.id)).toMatchObject({ state: 'running' });

    clock.advance(100);
    const done = await store.end(build.id, success, [ticket.id, joined.ticket.id]);
    const end = { state: 'succeeded', digest: success.digest, size: 1234, ended_at: clock.now() };
    expect(done.untagged).toEqual([]);
    expect(done.ended).toMatchObject([
      { id: ticket.id, ...end },
      { id: joined.ticket.id, ...end },
    ]);
    expect(await store.ticket('anna', ticket.id)).toEqual(done.ended[0]);
    expect(await store.build(build.id)).toMatchObject({ ...success, endedAt: clock.now() });
    expect(await store.counts()).toEqual({ queued: 0, running: 0 });
    // Said again by one who did not hear the answer; what came first stays.
    expect(await store.end(build.id, success, [ticket.id, joined.ticket.id])).toEqual(done);
    expect(await store.end(build.id, failure)).toEqual(done);
    expect(await store.begin(build.id, roomy)).toBe('unwanted');
    expect(await store.progress(build.id, progress)).toBe(false);
    await store.again(build.id, 'too late');
    expect(await store.build(build.id)).toMatchObject({ state: 'succeeded' });
  });

  it('fails with all of its tickets, also those that joined last', async () => {
    const { build, ticket } = await createOne(store);
    clock.advance(1);
    const joined = await joinOne(store, { ...buildOf(), key: build.key }, { created_at: 2000 });
    const { ended } = await store.end(build.id, failure);
    expect(ended).toHaveLength(2);
    expect(ended[0]).toMatchObject({ id: ticket.id, state: 'failed', code: failure.code });
    expect(ended[1]).toMatchObject({ message: failure.message });
    expect(joined.kind).toBe('joined');
    expect(await joinOne(store, { ...buildOf(), key: build.key })).toMatchObject({ kind: 'created' });
    expect(await store.end(randomUUID(), failure)).toEqual({ ended: [], untagged: [] });
  });

  it('goes back to wait and says why', async () => {
    const { build, ticket } = await createOne(store);
    await store.begin(build.id, roomy);
    await store.progress(build.id, { done: 1, total: 2 });
    await store.again(build.id, 'the registry is away');
    await store.again(build.id, 'the registry is away');
    const seen = await store.ticket('anna', ticket.id);
    expect(seen).toEqual({ ...ticket, message: 'the registry is away' });
    expect(await store.counts()).toEqual({ queued: 1, running: 0 });
    // The worker that had it before is not heard any more.
    expect(await store.progress(build.id, { done: 2, total: 2 })).toBe(false);
    expect(await store.begin(build.id, roomy)).toMatchObject({ order: build.order, message: undefined });
    expect((await store.ticket('anna', ticket.id))?.message).toBeUndefined();
  });

  it('waits where its user has enough under way, and not where it is one of these itself', async () => {
    const limits = { ...roomy, userRunning: 1 };
    const first = await createOne(store);
    const second = await createOne(store);
    const other = await createOne(store, buildOf({ user: 'otto' }));
    const begun = await Promise.all([first, second].map(async ({ build }) => store.begin(build.id, limits)));
    expect(begun.filter((outcome) => outcome === 'later')).toHaveLength(1);
    expect(await store.begin(other.build.id, limits)).toMatchObject({ state: 'running' });
    const [running, waiting] = begun[0] === 'later' ? [second, first] : [first, second];
    expect(await store.begin(waiting.build.id, limits)).toBe('later');
    // Another worker, after the first one died.
    expect(await store.begin(running.build.id, limits)).toMatchObject({ state: 'running' });
    await store.end(running.build.id, failure);
    expect(await store.begin(waiting.build.id, limits)).toMatchObject({ state: 'running' });
  });

  it('expires while it waits', async () => {
    const { build, ticket } = await createOne(store);
    await store.end(build.id, { state: 'expired', code: 'expired', message: 'it waited for a day' });
    expect(await store.ticket('anna', ticket.id)).toMatchObject({ state: 'expired' });
    expect(await store.begin(build.id, roomy)).toBe('unwanted');
    expect(await store.begin(randomUUID(), roomy)).toBe('unwanted');
  });

  it('lists what is open, oldest first', async () => {
    const ids: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      clock.advance(1);
      ids.push((await createOne(store)).build.id);
    }
    await store.begin(ids[1] ?? '', roomy);
    expect((await store.open()).map(({ id, state }) => [id, state])).toEqual([
      [ids[0], 'queued'],
      [ids[1], 'running'],
      [ids[2], 'queued'],
    ]);
    expect(await store.counts()).toEqual({ queued: 2, running: 1 });
  });
});

describe('cancelling', () => {
  it('goes on for the others', async () => {
    const { build, ticket } = await createOne(store);
    const joined = await joinOne(store, { ...buildOf(), key: build.key }, { created_at: 2000 });
    const dropped = await store.cancel('anna', ticket.id, 'cancelled by its user');
    expect(dropped).toMatchObject({ ticket: { state: 'cancelled', ended_at: clock.now() } });
    expect(dropped?.abandoned).toBeUndefined();
    expect((await store.begin(build.id, roomy)) as object).toMatchObject({ state: 'running' });
    expect(await store.progress(build.id, { done: 0, total: 1 })).toBe(true);
    const other = joined.kind === 'joined' ? joined.ticket.id : '';
    const { ended } = await store.end(build.id, success, [other]);
    expect(ended.map(({ id }) => id)).toEqual([other]);
    expect((await store.ticket('anna', ticket.id))?.state).toBe('cancelled');
    // It ended otherwise: nothing changes.
    const late = await store.cancel('anna', other, 'too late');
    expect(late).toMatchObject({ ticket: { state: 'succeeded' }, abandoned: undefined });
    expect(await store.cancel('anna', randomUUID(), 'x')).toBeUndefined();
    expect(await store.cancel('otto', other, 'x')).toBeUndefined();
  });

  it('ends a build that waits with its last ticket, and says so again', async () => {
    const { build, ticket } = await createOne(store);
    const dropped = await store.cancel('anna', ticket.id, 'not any more');
    expect(dropped).toMatchObject({ abandoned: build.id, ticket: { message: 'not any more' } });
    expect(await store.cancel('anna', ticket.id, 'once more')).toEqual(dropped);
    expect(await store.build(build.id)).toMatchObject({ state: 'cancelled', spec: { file: undefined } });
    expect(await store.open()).toEqual([]);
    expect(await store.begin(build.id, roomy)).toBe('unwanted');
  });

  it('tells the worker of one that runs, and who asks for the same gets a new one', async () => {
    const { build, ticket } = await createOne(store);
    await store.begin(build.id, roomy);
    const dropped = await store.cancel('anna', ticket.id, 'not any more');
    expect(dropped?.abandoned).toBe(build.id);
    expect(await store.cancel('anna', ticket.id, 'once more')).toEqual(dropped);
    expect(await store.progress(build.id, { done: 1, total: 2 })).toBe(false);
    const again = await createOne(store, { ...buildOf(), key: build.key });
    expect(again.build.id).not.toBe(build.id);
    expect(await store.end(build.id, { state: 'cancelled', code: 'cancelled', message: 'x' })).toEqual({
      ended: [],
      untagged: [],
    });
    expect(await joinOne(store, { ...buildOf(), key: build.key })).toMatchObject({
      kind: 'joined',
      build: { id: again.build.id },
    });
  });

  it('ends one that nobody wants where its worker died or tries again', async () => {
    const [one, two] = [await createOne(store), await createOne(store)];
    for (const { build, ticket } of [one, two]) {
      await store.begin(build.id, roomy);
      await store.cancel('anna', ticket.id, 'x');
    }
    expect(await store.begin(one.build.id, roomy)).toBe('unwanted');
    await store.again(two.build.id, 'the registry is away');
    for (const { build } of [one, two])
      expect(await store.build(build.id)).toMatchObject({ state: 'cancelled' });
    expect(await store.counts()).toEqual({ queued: 0, running: 0 });
  });
});
