import { randomUUID } from 'node:crypto';
import { openRedis } from '@sluice/shared/adapters';
import type { BuildTicket } from '@sluice/shared/contracts';
import { fakeClock } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRedisBuildStore } from '../../src/adapters/index.ts';
import type { BuildStore } from '../../src/index.ts';
import {
  buildOf,
  connection,
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

const failure = { state: 'failed', code: 'requirements_failed', message: 'pip did not find it' } as const;

function reusedTicket(change: Partial<BuildTicket> = {}): BuildTicket {
  const end = { state: 'succeeded', digest: 'sha256:1', size: 7, ended_at: 1001 } as const;
  return ticketOf({ ...end, reused: true, ...change });
}

describe('tickets that ended at once', () => {
  it('are put once', async () => {
    const ticket = reusedTicket();
    expect(await store.put(ticket)).toEqual(ticket);
    expect(await store.put({ ...ticket, digest: 'sha256:2' })).toEqual(ticket);
    const open = await createOne(store);
    expect(await store.put({ ...ticket, id: open.ticket.id })).toEqual(open.ticket);
    await expect(store.put(ticketOf())).rejects.toThrow('only a ticket that has ended');
  });

  it('are replaced once they were forgotten, and others never', async () => {
    const ticket = reusedTicket({ state: 'failed', code: 'requirements_failed' });
    await store.put(ticket);
    const asked = buildOf();
    expect(await store.join(ticketOf({ id: ticket.id }), asked, roomy)).toEqual({ kind: 'known', ticket });
    await store.forget('anna', ticket.id);
    // It is there until the next one comes, also where that is refused.
    expect(await store.ticket('anna', ticket.id)).toEqual(ticket);
    const refused = await store.join(ticketOf({ id: ticket.id }), asked, { ...roomy, userOpen: 0 });
    expect(refused.kind).toBe('full');
    expect(await store.ticket('anna', ticket.id)).toEqual(ticket);
    const joined = await store.join(ticketOf({ id: ticket.id, created_at: 9000 }), asked, roomy);
    expect(joined).toMatchObject({ kind: 'created', ticket: { state: 'queued', build: asked.id } });
    expect((await store.tickets('anna', { limit: 10 })).tickets).toHaveLength(1);
    await store.forget('anna', ticket.id);
    const known = await store.join(ticketOf({ id: ticket.id }), buildOf(), roomy);
    expect(known).toMatchObject({ kind: 'known', ticket: { build: asked.id } });
    await store.forget('anna', randomUUID());
    // The new one ends, and the mark of the old one is not on it.
    await store.end(asked.id, failure);
    expect((await store.join(ticketOf({ id: ticket.id }), buildOf(), roomy)).kind).toBe('known');
  });
});

it('of those that ended at once only so many are kept, and of others all', async () => {
  const redis = await openRedis(connection(world.namespace));
  try {
    const small = createRedisBuildStore({ redis, clock, maxReused: 3 });
    const open = await createOne(small);
    const tickets = [1001, 1002, 1003, 1003, 1003, 1003].map((at) => reusedTicket({ ended_at: at }));
    for (const ticket of tickets) expect(await small.put(ticket)).toEqual(ticket);
    await small.put(reusedTicket({ user: 'otto' }));
    const kept = (await small.tickets('anna', { limit: 10 })).tickets.map(({ id }) => id);
    expect(kept).toHaveLength(4);
    expect(kept).toContain(open.ticket.id);
    expect(kept).toContain(tickets.at(-1)?.id);
    await small.end(open.build.id, failure);
    clock.advance(1);
    expect((await small.removeEnded(clock.now())).removed).toBe(5);
    expect(await keysOf(world.namespace)).toEqual([]);
  } finally {
    await redis.close();
  }
});

describe('pages of tickets', () => {
  it('show the newest first, each once, also of one millisecond', async () => {
    const tickets = [5, 7, 7, 7, 2, 9].map((at) => reusedTicket({ created_at: 1000 + at }));
    for (const ticket of tickets) await store.put(ticket);
    await store.put(reusedTicket({ user: 'otto' }));
    const seen: BuildTicket[] = [];
    let next: string | undefined;
    let pages = 0;
    do {
      const page = await store.tickets('anna', { limit: 2, after: next });
      seen.push(...page.tickets);
      next = page.next;
      pages += 1;
    } while (next !== undefined);
    expect(pages).toBe(3);
    expect(seen.map(({ created_at }) => created_at)).toEqual([1009, 1007, 1007, 1007, 1005, 1002]);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(6);
    expect(await store.tickets('eva', { limit: 2 })).toEqual({ tickets: [] });
  });

  it('show those of one state, which is that of their builds', async () => {
    const running = await createOne(store, buildOf(), { created_at: 1001 });
    const waiting = await createOne(store, buildOf(), { created_at: 1002 });
    await store.put(reusedTicket({ created_at: 1003 }));
    await store.begin(running.build.id, roomy);
    const idsOf = async (state: BuildTicket['state']): Promise<readonly string[]> =>
      (await store.tickets('anna', { limit: 5, state })).tickets.map(({ id }) => id);
    expect(await idsOf('running')).toEqual([running.ticket.id]);
    expect(await idsOf('queued')).toEqual([waiting.ticket.id]);
    expect(await idsOf('succeeded')).toHaveLength(1);
    expect(await idsOf('failed')).toEqual([]);
  });

  it('refuse a place that they never gave', async () => {
    await expect(store.tickets('anna', { limit: 2, after: '[x' })).rejects.toMatchObject({
      code: 'invalid_input',
      field: 'after',
    });
  });
});

describe('removing', () => {
  it('takes tickets that ended before, of all or of one user, and builds that none names', async () => {
    const { build, ticket } = await createOne(store);
    await joinOne(store, { ...buildOf(), key: build.key });
    const dropped = await store.cancel('anna', ticket.id, 'x');
    expect(dropped?.abandoned).toBeUndefined();
    clock.advance(10);
    const between = clock.now();
    clock.advance(10);
    // The build stays for the other one.
    expect(await store.removeEnded(between)).toEqual({ removed: 1, builds: [] });
    await store.end(build.id, failure);
    expect(await store.removeEnded(between)).toEqual({ removed: 0, builds: [] });
    const other = await createOne(store, buildOf({ user: 'otto' }));
    await store.end(other.build.id, failure);
    clock.advance(1);
    const gone = await store.removeEnded(clock.now(), 'otto');
    expect(gone).toEqual({ removed: 1, builds: [{ user: 'otto', id: other.build.id }] });
    expect(await store.removeEnded(clock.now())).toEqual({
      removed: 1,
      builds: [{ user: 'anna', id: build.id }],
    });
    expect(await store.build(build.id)).toBeUndefined();
    expect(await keysOf(world.namespace)).toEqual([]);
  });

  it('takes many, and leaves nothing of a build that ends after its tickets went', async () => {
    for (let count = 0; count < 1201; count += 1) await store.put(reusedTicket({ build: 'b' }));
    const running = await createOne(store);
    await store.begin(running.build.id, roomy);
    await store.cancel('anna', running.ticket.id, 'x');
    clock.advance(1);
    expect(await store.removeEnded(clock.now())).toEqual({ removed: 1202, builds: [] });
    expect(await store.build(running.build.id)).toMatchObject({ state: 'running', tickets: [] });
    await store.end(running.build.id, failure);
    expect(await keysOf(world.namespace)).toEqual([]);
  });
});
