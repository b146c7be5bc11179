import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BusLimits, Database } from '@sluice/shared/adapters';
import type { Bus, ConsumerSpec, Delivery, OutgoingMessage, WorkQueue } from '@sluice/shared/bus';
import { AppError } from '@sluice/shared/errors';
import { eventually, fakeClock, type FakeClock } from '@sluice/shared/testing';
import { numbered, queuedEvent, recorder, startMessage } from '../../src/testing/bus-harness.ts';
import { busOf, open, tempDatabase } from './sqlite-fixture.ts';

const hour = 3_600_000;
let path: string;
let remove: () => Promise<void>;
let clock: FakeClock;
let db: Database;
let bus: Bus;
let limits: BusLimits;
beforeEach(async () => {
  ({ path, remove } = await tempDatabase());
  clock = fakeClock();
  limits = {};
  start();
});
afterEach(async () => {
  await bus.close();
  await db.close();
  await remove();
});

function start(): void {
  db = open(path, clock);
  bus = busOf(db, limits, clock);
}

/** As after a kill: nothing was given back. */
async function restart(changes: BusLimits = {}): Promise<void> {
  await db.close();
  limits = changes;
  start();
}

const spec = { durable: 'w', names: ['runs.start'], maxInFlight: 10 } as const satisfies ConsumerSpec;
const queueOf = async (more: Partial<ConsumerSpec> = {}): Promise<WorkQueue> =>
  bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 10, ...more });

async function fetchOne(queue: WorkQueue): Promise<Delivery> {
  return eventually('a delivery', async () => (await queue.fetch('thumbnail', 1))[0]);
}

/** Lets what the clock set off come to its end: whatever it writes is in a transaction before this one. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await db.write(() => undefined);
}

async function waiting(queue: WorkQueue): Promise<number> {
  await settled();
  return (await queue.backlog())[0]?.waiting ?? 0;
}

describe('time', () => {
  it('backs off, longer each time, and not all at once', async () => {
    const queue = await queueOf({ maxAttempts: 100 });
    await bus.publish([startMessage('a')]);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      const delivery = await fetchOne(queue);
      expect(delivery.attempt).toBe(attempt);
      await delivery.retry('again');
      let waited = 0;
      while ((await waiting(queue)) === 0) {
        const step = Math.max(1, Math.round(waited / 20));
        clock.advance(step);
        waited += step;
      }
      waits.push(waited);
    }
    for (const [index, waited] of waits.entries()) {
      const full = Math.min(500 * 2 ** index, 60_000);
      expect(waited).toBeGreaterThanOrEqual(full / 2 - 1);
      expect(waited).toBeLessThanOrEqual(full * 1.06 + 1);
    }
  });

  it('waits as long as it should when the wall clock jumps', async () => {
    const queue = await queueOf();
    await bus.publish([startMessage('a')]);
    await (await fetchOne(queue)).retry('later', 1000);
    clock.setNow(clock.now() + 24 * hour);
    clock.advance(999);
    expect(await waiting(queue)).toBe(0);
    clock.setNow(clock.now() - 48 * hour);
    clock.advance(1);
    expect(await waiting(queue)).toBe(1);
  });

  it('does not wait for a time that a clock which was wrong has set', async () => {
    await bus.publish([startMessage('a')]);
    await (await fetchOne(await queueOf())).retry('later', 10_000);
    clock.setNow(clock.now() - 30 * 24 * hour);
    await restart();
    const queue = await queueOf();
    clock.advance(24 * hour + 1);
    expect(await waiting(queue)).toBe(1);
  });

  it('finds what waits for its time after a restart', async () => {
    await bus.publish([startMessage('a')]);
    await (await fetchOne(await queueOf())).retry('later', 10_000);
    await restart();
    const queue = await queueOf();
    await settled();
    clock.advance(9_000);
    expect(await waiting(queue)).toBe(0);
    clock.advance(1_001);
    expect(await waiting(queue)).toBe(1);
    expect((await fetchOne(queue)).attempt).toBe(2);
  });

  it('sets no timer while nothing is due', async () => {
    await settled();
    expect(clock.sleepers()).toBe(0);
    const subscription = await bus.subscribe(spec, async () => undefined);
    await bus.publish(numbered(100).map((id) => startMessage(id)));
    await eventually('all are done', async () => {
      await settled();
      clock.advance(60_000);
      return clock.sleepers() === 0;
    });
    await subscription.drain(0);
    expect(clock.sleepers()).toBe(0);
  });

  it('forgets ids after a while', async () => {
    const queue = await queueOf();
    const publish = async (): Promise<number> => {
      await bus.publish([startMessage('a')]);
      const got = await queue.fetch('thumbnail', 1);
      for (const delivery of got) await delivery.ack();
      return got.length;
    };
    expect(await publish()).toBe(1);
    clock.advance(119_000);
    expect(await publish()).toBe(0);
    clock.advance(240_000);
    expect(await publish()).toBe(1);
  });
});

describe('the last attempt', () => {
  it('that a killed process had in hand does not strand the message', async () => {
    const queue = await queueOf({ maxAttempts: 2 });
    await bus.publish([startMessage('a')]);
    await (await fetchOne(queue)).retry('again', 0);
    expect((await fetchOne(queue)).attempt).toBe(2);
    await restart();
    const { seen, handler } = recorder();
    await bus.subscribe({ ...spec, maxAttempts: 2 }, handler);
    await eventually('it is dead', async () => (await bus.deadLetters.count()) === 1);
    expect(seen).toEqual([]);
    const [dead] = (await bus.deadLetters.list({ limit: 1 })).items;
    expect(dead).toMatchObject({ message_id: 'a', attempts: 2, reason: 'not settled in 2 deliveries' });
  });
});

describe('events', () => {
  const events = (count: number, key: string, prefix = key): OutgoingMessage[] =>
    numbered(count, prefix).map((id) => queuedEvent(id, key));

  it('of a slow reader are dropped past the limit, the oldest of the busiest first', async () => {
    await restart({ events: 10 });
    const idle = { durable: 'slow', names: ['runs.queued'], maxInFlight: 1 } as const;
    const first = await bus.subscribe(idle, async () => undefined);
    await first.drain(0);
    await bus.publish([...events(2, 'quiet'), ...events(20, 'noisy')]);
    await settled();
    const { ids, handler } = recorder();
    await bus.subscribe(idle, handler);
    await eventually('the rest comes', () => ids().length >= 10);
    await settled();
    expect(ids().sort()).toEqual(
      [...numbered(8, 'noisy').map((_, index) => `noisy${index + 12}`), 'quiet0', 'quiet1'].sort(),
    );
  });

  it('that nobody reads are dropped when they are old, and so is a reader that is gone', async () => {
    await restart({ eventAgeMs: 10 * 60_000 });
    const reader = { durable: 'gone', names: ['runs.queued'], maxInFlight: 1 } as const;
    await (await bus.subscribe(reader, async () => undefined)).drain(0);
    await bus.publish(events(3, 'k'));
    await eventually('they are dropped', async () => {
      clock.advance(60_000);
      await settled();
      return rowsIn('bus_messages') === 0;
    });
    await eventually('its channel is gone', () => rowsIn("bus_channels WHERE reader = 'gone'") === 0);
    await bus.publish(events(3, 'later'));
    expect(rowsIn('bus_messages')).toBe(0);
    const { ids, handler } = recorder();
    await bus.subscribe(reader, handler);
    await bus.publish(events(1, 'new'));
    await eventually('it is a new reader', () => ids().length === 1);
    expect(ids()).toEqual(['new0']);
  });

  it('that nobody subscribed to are not stored', async () => {
    await bus.publish(events(3, 'k'));
    expect(rowsIn('bus_messages')).toBe(0);
  });
});

/** Rows of a table, read behind the adapter's back. */
function rowsIn(table: string): number {
  return db.read(() => db.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? -1);
}

describe('what is stored', () => {
  it('and breaks its contract goes to the dead letters with the reason; unknown fields pass', async () => {
    await bus.publish(numbered(3).map((id) => startMessage(id)));
    const poke = db.prepare('UPDATE bus_messages SET payload = ? WHERE id = ?');
    poke.run('{"run_id":1,"service":"s","attempt":1}', 'm0');
    poke.run('{"run_id":', 'm1');
    poke.run('{"run_id":"r","service":"s","attempt":1,"from_the_future":true}', 'm2');
    const { seen, handler } = recorder();
    await bus.subscribe(spec, handler);
    await eventually('two are dead', async () => (await bus.deadLetters.count()) === 2);
    await eventually('one is delivered', () => seen.length === 1);
    expect(seen[0]?.message).toMatchObject({ id: 'm2', payload: { from_the_future: true } });
    const { items } = await bus.deadLetters.list({ limit: 10 });
    const reasons = new Map(items.map((dead) => [dead.message_id, dead]));
    expect(reasons.get('m0')?.reason).toContain('run_id must be string');
    expect(reasons.get('m1')).toMatchObject({
      payload: '{"run_id":',
      reason: expect.stringContaining('not JSON'),
    });
    await expect(bus.deadLetters.redrive(reasons.get('m0')?.id ?? '')).rejects.toMatchObject({
      code: 'unprocessable',
    });
    expect(await bus.deadLetters.count()).toBe(2);
  });

  it('waits when the dead letters are full', async () => {
    await restart({ deadLetters: 1 });
    const fail = async (): Promise<void> => {
      throw new AppError('unprocessable', 'hopeless');
    };
    await bus.subscribe(spec, fail);
    await bus.publish([startMessage('a'), startMessage('b')]);
    await eventually('one is dead', async () => (await bus.deadLetters.count()) === 1);
    await expect(
      bus.deadLetters.put(startMessage('c'), { consumer: 'c', reason: 'r' }),
    ).rejects.toMatchObject({
      code: 'limit_reached',
    });
    const [dead] = (await bus.deadLetters.list({ limit: 2 })).items;
    await settled();
    expect(rowsIn('bus_messages')).toBe(1);
    await bus.deadLetters.remove(dead?.id ?? '');
    await eventually('the other follows', async () => {
      clock.advance(30_000);
      await settled();
      return (await bus.deadLetters.count()) === 1;
    });
    expect((await bus.deadLetters.list({ limit: 2 })).items[0]?.message_id).not.toBe(dead?.message_id);
    expect(rowsIn('bus_messages')).toBe(0);
  });

  it('belongs to its namespace, and a namespace to one bus', async () => {
    expect(() => busOf(db, {}, clock)).toThrow(expect.objectContaining({ code: 'conflict' }));
    await bus.publish([startMessage('a')]);
    db.prepare("UPDATE bus_channels SET namespace = 'other'").run();
    await restart();
    expect(await (await queueOf()).backlog()).toEqual([]);
  });

  it('is worked off by one owner', async () => {
    const queue = await queueOf();
    const conflict = { code: 'conflict' };
    await expect(bus.subscribe({ ...spec, durable: 'other' }, async () => undefined)).rejects.toMatchObject(
      conflict,
    );
    await expect(bus.subscribe(spec, async () => undefined)).rejects.toMatchObject(conflict);
    await expect(bus.workQueue({ durable: 'e', name: 'runs.queued', maxInFlight: 1 })).rejects.toMatchObject({
      code: 'invalid_input',
    });
    await expect(bus.subscribe({ ...spec, maxInFlight: 0 }, async () => undefined)).rejects.toMatchObject({
      code: 'invalid_input',
      field: 'maxInFlight',
    });
    await queue.close();
    await bus.subscribe({ ...spec, durable: 'other' }, async () => undefined);
  });
});

describe('a full disk', () => {
  it('refuses to publish, keeps its counts right, and goes on by itself', async () => {
    const queue = await queueOf();
    const small = numbered(20).map((id) => startMessage(id));
    await bus.publish(small);
    const pages = db.prepare<{ page_count: number }>('PRAGMA page_count').get()?.page_count ?? 0;
    db.prepare(`PRAGMA max_page_count = ${pages}`).get();
    const big = { id: 'big', name: 'storage.notify', payload: 'x'.repeat(500_000) } as const;
    const tries = await Promise.allSettled([bus.publish([big]), bus.publish([startMessage('beside')])]);
    expect(tries[0]).toMatchObject({ reason: { code: 'storage_full' } });
    const beside = tries[1].status === 'fulfilled' ? 1 : 0;
    expect((await queue.backlog())[0]?.waiting).toBe(20 + beside);
    db.prepare('PRAGMA max_page_count = 1000000').get();
    await bus.publish([big, startMessage('beside')]);
    expect((await queue.backlog())[0]?.waiting).toBe(21);
    expect(await queue.fetch('thumbnail', 100)).toHaveLength(10);
  });
});
