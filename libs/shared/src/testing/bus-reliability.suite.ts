import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus, ConsumerSpec, Delivery } from '../bus/index.ts';
import { AppError } from '../errors/index.ts';
import { type BusHarness, type MakeBus, numbered, recorder, startMessage } from './bus-harness.ts';
import { eventually } from './eventually.ts';

const spec = {
  durable: 'scheduler-start',
  names: ['runs.start'],
  maxInFlight: 4,
} as const satisfies ConsumerSpec;
const forever = new Promise<void>(() => undefined);

/** What a bus does about failures, leases, restarts and back-pressure; part of `describeBus`. */
export function describeBusReliability(name: string, make: MakeBus): void {
  describe(`bus, when things go wrong: ${name}`, () => {
    let harness: BusHarness;
    let bus: Bus;
    beforeEach(async () => {
      harness = await make();
      ({ bus } = harness);
    });
    afterEach(async () => harness.close());

    it('delivers again what failed, with the attempt counted', async () => {
      const attempts: number[] = [];
      await bus.subscribe(spec, async ({ attempt }) => {
        attempts.push(attempt);
        if (attempt === 1) throw new AppError('unavailable', 'the store is away');
        if (attempt === 2) throw new TypeError('a bug');
      });
      await bus.publish([startMessage('a')]);
      await eventually('the third delivery', () => attempts.length === 3, 10_000);
      await bus.publish([startMessage('b')]);
      await eventually('the next message', () => attempts.length >= 4);
      expect(attempts.slice(0, 4)).toEqual([1, 2, 3, 1]);
      expect(await bus.deadLetters.count()).toBe(0);
    });

    it('puts what fails with verdict never among the dead letters at once', async () => {
      const { seen } = recorder();
      await bus.subscribe(spec, async (delivery) => {
        seen.push(delivery);
        throw new AppError('not_found', 'the run is gone');
      });
      const traceparent = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';
      await bus.publish([{ ...startMessage('a'), traceparent }]);
      await eventually('it is dead', async () => (await bus.deadLetters.count()) === 1);
      expect(seen).toHaveLength(1);
      const [dead] = (await bus.deadLetters.list({ limit: 10 })).items;
      expect(dead).toMatchObject({
        message_id: 'a',
        name: 'runs.start',
        key: 'thumbnail',
        payload: startMessage('a').payload,
        traceparent,
        consumer: 'scheduler-start',
        reason: 'the run is gone',
        attempts: 1,
      });
    });

    it('gives up after the last attempt', async () => {
      const attempts: number[] = [];
      await bus.subscribe({ ...spec, maxAttempts: 2 }, async (delivery) => {
        attempts.push(delivery.attempt);
        await delivery.retry('not yet', 1);
      });
      await bus.publish([startMessage('a')]);
      await eventually('it is dead', async () => (await bus.deadLetters.count()) === 1);
      expect(attempts).toEqual([1, 2]);
      expect((await bus.deadLetters.list({ limit: 1 })).items[0]).toMatchObject({
        attempts: 2,
        reason: 'not yet',
      });
    });

    it('delivers again what was not settled within its lease, and what was never settled dies', async () => {
      const attempts: number[] = [];
      await bus.subscribe({ ...spec, leaseMs: 150, maxAttempts: 2 }, async ({ attempt }) => {
        attempts.push(attempt);
        await forever;
      });
      await bus.publish([startMessage('a')]);
      await eventually('it is dead', async () => (await bus.deadLetters.count()) === 1);
      expect(attempts).toEqual([1, 2]);
      expect((await bus.deadLetters.list({ limit: 1 })).items[0]).toMatchObject({
        message_id: 'a',
        attempts: 2,
      });
    });

    it('keeps a lease that is extended', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 2, leaseMs: 400 });
      await bus.publish([startMessage('held'), startMessage('left')]);
      const deliveries = await eventually('both are there', async () => {
        const got = await queue.fetch('thumbnail', 2);
        return got.length === 2 && got;
      });
      const held = deliveries.find(({ message }) => message.id === 'held');
      const again: Delivery[] = [];
      await eventually('the one that was left comes back', async () => {
        await held?.extend();
        again.push(...(await queue.fetch('thumbnail', 2)));
        return again.some(({ attempt }) => attempt === 2);
      });
      expect(again.map(({ message }) => message.id)).toEqual(['left']);
      await held?.ack();
    });

    it('takes an acknowledgement that comes late, and ignores other late settlements', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 2, leaseMs: 100 });
      await bus.publish([startMessage('a')]);
      const next = async (attempt: number): Promise<Delivery> =>
        eventually(`delivery ${attempt}`, async () =>
          (await queue.fetch('thumbnail', 1)).find((it) => it.attempt === attempt),
        );
      const first = await next(1);
      const second = await next(2);
      await first.retry('late', 60_000);
      await first.release();
      await first.ack();
      await second.ack();
      await bus.publish([startMessage('b')]);
      const last = await eventually('the next message', async () => (await queue.fetch('thumbnail', 2))[0]);
      expect(last.message.id).toBe('b');
      await last.ack();
      expect(await queue.backlog()).toEqual([]);
    });

    it('does not count what is released, and waits as long as a retry asks', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 2, maxAttempts: 2 });
      await bus.publish([startMessage('a')]);
      const fetchOne = async (): Promise<Delivery> =>
        eventually('a delivery', async () => (await queue.fetch('thumbnail', 1))[0]);
      for (let round = 0; round < 5; round += 1) {
        const delivery = await fetchOne();
        expect(delivery.attempt).toBe(1);
        await delivery.release();
      }
      const delivery = await fetchOne();
      const asked = performance.now();
      await delivery.retry('later', 300);
      const again = await fetchOne();
      expect(performance.now() - asked).toBeGreaterThan(290);
      expect(again.attempt).toBe(2);
      await again.deadLetter('enough');
      expect((await bus.deadLetters.list({ limit: 1 })).items[0]).toMatchObject({
        reason: 'enough',
        attempts: 2,
      });
    });

    it('hands out no more than may be in flight', async () => {
      const gates: (() => void)[] = [];
      let most = 0;
      let running = 0;
      await bus.subscribe({ ...spec, maxInFlight: 3 }, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => gates.push(resolve));
        running -= 1;
      });
      await bus.publish(numbered(10).map((id) => startMessage(id, `service-${id}`)));
      let done = 0;
      while (done < 10) {
        await eventually('a handler waits', () => gates.length > 0);
        gates.shift()?.();
        done += 1;
      }
      await eventually('all are done', () => running === 0);
      expect(most).toBe(3);
    });

    it('drains: nothing new, handlers finish, what takes too long is given back', async () => {
      const started: string[] = [];
      const open = Promise.withResolvers<void>();
      const subscription = await bus.subscribe({ ...spec, maxInFlight: 2 }, async ({ message }) => {
        started.push(message.id);
        await (message.id === 'quick' ? open.promise : forever);
      });
      await bus.publish([startMessage('quick'), startMessage('slow')]);
      await eventually('both run', () => started.length === 2);
      await bus.publish([startMessage('next')]);
      const drained = subscription.drain(300);
      open.resolve();
      await drained;
      expect(started.sort()).toEqual(['quick', 'slow']);
      const { seen, handler } = recorder();
      await bus.subscribe(spec, handler);
      await eventually('the rest comes to the next reader', () => seen.length >= 2);
      expect(seen.map(({ message, attempt }) => `${message.id} ${attempt}`).sort()).toEqual([
        'next 1',
        'slow 1',
      ]);
    });

    it('gives each key its turn in a work queue, oldest first', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 100 });
      await bus.publish([...numbered(5, 'a').map((id) => startMessage(id, 'a')), startMessage('b0', 'b')]);
      await eventually('all are counted', async () => {
        const backlog = await queue.backlog();
        return backlog.length === 2 && backlog.every(({ key, waiting }) => waiting === (key === 'a' ? 5 : 1));
      });
      const first = await queue.fetch('a', 2);
      expect(first.map(({ message }) => message.id)).toEqual(['a0', 'a1']);
      expect((await queue.backlog()).find(({ key }) => key === 'a')?.waiting).toBe(3);
      const [sideA, sideB] = await Promise.all([queue.fetch('a', 10), queue.fetch('b', 10)]);
      expect([sideA.length, sideB.length]).toEqual([3, 1]);
      expect(await queue.backlog()).toEqual([]);
      expect(await queue.fetch('a', 10)).toEqual([]);
      expect(await queue.fetch('never heard of', 10)).toEqual([]);
      await Promise.all([...first, ...sideA, ...sideB].map(async (delivery) => delivery.ack()));
    });

    it('limits what a work queue has in hand, and tells of arrivals', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 3 });
      let hints = 0;
      const stop = queue.onArrival(() => {
        hints += 1;
      });
      await bus.publish(numbered(10).map((id) => startMessage(id)));
      await eventually('a hint', () => hints > 0);
      stop();
      const both = await Promise.all([queue.fetch('thumbnail', 2), queue.fetch('thumbnail', 2)]);
      const held = both.flat();
      expect(held.length).toBeLessThanOrEqual(3);
      held.push(...(await queue.fetch('thumbnail', 10)));
      expect(new Set(held.map(({ message }) => message.id)).size).toBe(3);
      expect(await queue.fetch('thumbnail', 10)).toEqual([]);
      await held[0]?.ack();
      expect(await queue.fetch('thumbnail', 10)).toHaveLength(1);
      await queue.close();
    });

    it('loses nothing in a restart and keeps counting attempts', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 10, leaseMs: 1000 });
      await bus.publish(numbered(4).map((id) => startMessage(id)));
      const [acked, held] = await eventually('two are in hand', async () => {
        const got = await queue.fetch('thumbnail', 2);
        return got.length === 2 && got;
      });
      await acked?.ack();
      bus = await harness.restart();
      // The same way of reading as before: a server that others share cannot tell a restart from a second process.
      const again = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 10, leaseMs: 1000 });
      const attempts = new Map<string, number>();
      await eventually('the other three come', async () => {
        for (const { message, attempt } of await again.fetch('thumbnail', 10)) {
          attempts.set(message.id, attempt);
        }
        return attempts.size >= 3;
      });
      expect([...attempts.keys()].sort()).toEqual(['m1', 'm2', 'm3']);
      expect(attempts.get(held?.message.id ?? '')).toBe(2);
    });
  });
}
