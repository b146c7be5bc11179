import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus, DeadLetter } from '../bus/index.ts';
import { AppError } from '../errors/index.ts';
import {
  type BusHarness,
  type MakeBus,
  numbered,
  queuedEvent,
  recorder,
  startMessage,
} from './bus-harness.ts';
import { eventually } from './eventually.ts';

/** What can be done with dead letters; part of `describeBus`. */
export function describeDeadLetters(name: string, make: MakeBus): void {
  describe(`dead letters: ${name}`, () => {
    let harness: BusHarness;
    let bus: Bus;
    beforeEach(async () => {
      harness = await make();
      ({ bus } = harness);
    });
    afterEach(async () => harness.close());

    /** Messages that die one after the other. */
    const bury = async (ids: readonly string[]): Promise<void> => {
      const queue = await bus.workQueue({ durable: 'undertaker', name: 'runs.start', maxInFlight: 1 });
      for (const id of ids) {
        await bus.publish([startMessage(id)]);
        const delivery = await eventually(id, async () => (await queue.fetch('thumbnail', 1))[0]);
        await delivery.deadLetter(`${id} is hopeless`);
      }
      await queue.close();
    };

    const all = async (): Promise<readonly DeadLetter[]> =>
      (await bus.deadLetters.list({ limit: 1000 })).items;

    it('are listed newest first, page by page, and read by id', async () => {
      await bury(numbered(5));
      const pages: string[][] = [];
      let cursor: string | undefined;
      do {
        const page = await bus.deadLetters.list({ limit: 2, ...(cursor === undefined ? {} : { cursor }) });
        pages.push(page.items.map((it) => it.message_id));
        cursor = page.next;
      } while (cursor !== undefined);
      expect(pages).toEqual([['m4', 'm3'], ['m2', 'm1'], ['m0']]);
      expect(await bus.deadLetters.count()).toBe(5);
      const [newest] = await all();
      expect(newest === undefined ? undefined : await bus.deadLetters.get(newest.id)).toEqual(newest);
      expect(newest?.reason).toBe('m4 is hopeless');
      expect(await bus.deadLetters.get('unknown')).toBeUndefined();
    });

    it.each(['', 'x', '!!!', 'ZGVhZA', 'cnVuczox'])('refuse the cursor %j', async (cursor) => {
      await expect(bus.deadLetters.list({ limit: 2, cursor })).rejects.toMatchObject({
        code: 'invalid_input',
        field: 'cursor',
      });
    });

    it('are redriven under a new id', async () => {
      await bury(['a']);
      const [dead] = await all();
      const id = await bus.deadLetters.redrive(dead?.id ?? '');
      expect(id).not.toBe('a');
      expect(await bus.deadLetters.count()).toBe(0);
      const { seen, handler } = recorder();
      await bus.subscribe({ durable: 'r', names: ['runs.start'], maxInFlight: 1 }, handler);
      await eventually('it is delivered', () => seen.length === 1);
      expect(seen[0]?.message).toMatchObject({ id, key: 'thumbnail', payload: startMessage('a').payload });
      expect(seen[0]?.attempt).toBe(1);
      await expect(bus.deadLetters.redrive(dead?.id ?? '')).rejects.toMatchObject({ code: 'not_found' });
    });

    it('of an event are redriven to its reader', async () => {
      let fail = true;
      const { seen } = recorder();
      await bus.subscribe({ durable: 'moody', names: ['runs.queued'], maxInFlight: 1 }, async (delivery) => {
        if (fail) throw new AppError('unprocessable', 'not today');
        seen.push(delivery);
      });
      await bus.publish([queuedEvent('e')]);
      const dead = await eventually('it is dead', async () => (await all())[0]);
      fail = false;
      await bus.deadLetters.redrive(dead.id);
      await eventually('it is handled', () => seen.length === 1);
      expect(seen[0]?.message.payload).toEqual(queuedEvent('e').payload);
    });

    it('are removed, once or twice', async () => {
      await bury(['a', 'b']);
      const [b, a] = await all();
      await bus.deadLetters.remove(b?.id ?? '');
      await bus.deadLetters.remove(b?.id ?? '');
      expect(await all()).toEqual([a]);
      expect(await bus.deadLetters.count()).toBe(1);
      await expect(bus.deadLetters.redrive(b?.id ?? '')).rejects.toMatchObject({ code: 'not_found' });
    });

    it('take a message that was never published, once', async () => {
      const message = startMessage('hop-17');
      await bus.deadLetters.put(message, { consumer: 'storage-events', reason: 'more than 16 hops' });
      await bus.deadLetters.put(message, { consumer: 'storage-events', reason: 'again' });
      expect(await bus.deadLetters.count()).toBe(1);
      const dead = await bus.deadLetters.get('hop-17');
      expect(dead).toMatchObject({
        id: 'hop-17',
        message_id: 'hop-17',
        reason: 'more than 16 hops',
        attempts: 0,
      });
      const broken = { ...message, payload: { run_id: 1 } };
      await expect(bus.deadLetters.put(broken, { consumer: 'c', reason: 'r' })).rejects.toMatchObject({
        code: 'invalid_input',
      });
      const id = await bus.deadLetters.redrive('hop-17');
      const { ids, handler } = recorder();
      await bus.subscribe({ durable: 'r', names: ['runs.start'], maxInFlight: 1 }, handler);
      await eventually('it is delivered', () => ids().length === 1);
      expect(ids()).toEqual([id]);
    });
  });
}
