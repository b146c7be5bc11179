import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus, OutgoingMessage } from '../bus/index.ts';
import { AppError } from '../errors/index.ts';
import {
  type BusHarness,
  type MakeBus,
  numbered,
  queuedEvent,
  recorder,
  startMessage,
} from './bus-harness.ts';
import { describeBusLive } from './bus-live.suite.ts';
import { describeBusReliability } from './bus-reliability.suite.ts';
import { describeDeadLetters } from './dead-letters.suite.ts';
import { eventually } from './eventually.ts';

/** What every bus does. Written against the port: no order between keys, no hint that must come, no synchronous effect. */
export function describeBus(name: string, make: MakeBus): void {
  describe(`bus: ${name}`, () => {
    let harness: BusHarness;
    let bus: Bus;
    beforeEach(async () => {
      harness = await make();
      ({ bus } = harness);
    });
    afterEach(async () => harness.close());

    describe('commands', () => {
      it('delivers a message as it was published, once', async () => {
        const { seen, handler } = recorder();
        await bus.subscribe({ durable: 'scheduler-start', names: ['runs.start'], maxInFlight: 4 }, handler);
        const traceparent = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';
        await bus.publish([{ ...startMessage('a'), traceparent }]);
        await bus.publish([startMessage('b')]);
        await eventually('both are delivered', () => seen.length === 2);
        const first = seen.find(({ message }) => message.id === 'a');
        expect(first?.attempt).toBe(1);
        expect(first?.message).toEqual({
          id: 'a',
          name: 'runs.start',
          key: 'thumbnail',
          payload: { run_id: 'a', service: 'thumbnail', attempt: 1 },
          traceparent,
        });
        expect(seen.find(({ message }) => message.id === 'b')?.message.traceparent).toBeUndefined();
      });

      it('keeps what was published before anybody subscribed', async () => {
        await bus.publish(numbered(5).map((id) => startMessage(id)));
        const { ids, handler } = recorder();
        await bus.subscribe({ durable: 'scheduler-start', names: ['runs.start'], maxInFlight: 4 }, handler);
        await eventually('all are delivered', () => ids().length === 5);
        expect(ids().sort()).toEqual(numbered(5));
      });

      it('shares messages between two subscriptions of one durable name', async () => {
        const spec = { durable: 'scheduler-start', names: ['runs.start'], maxInFlight: 2 } as const;
        const left = recorder();
        const right = recorder();
        await bus.subscribe(spec, left.handler);
        await bus.subscribe(spec, right.handler);
        await bus.publish(numbered(40).map((id) => startMessage(id)));
        await eventually('all are delivered', () => left.seen.length + right.seen.length >= 40);
        expect([...left.ids(), ...right.ids()].sort()).toEqual(numbered(40).sort());
      });

      it('delivers messages without a key, and several names to one reader', async () => {
        const { ids, seen, handler } = recorder();
        const names = ['storage.notify', 'runs.cancel'] as const;
        await bus.subscribe({ durable: 'reader', names, maxInFlight: 2 }, handler);
        const payload = { run_id: 'r', service: 'ä b/c.*>', reason: 'asked' };
        await bus.publish([
          { id: 'n', name: 'storage.notify', payload: { Records: [] } },
          { id: 'c', name: 'runs.cancel', key: 'ä b/c.*>', payload },
        ]);
        await eventually('both are delivered', () => seen.length === 2);
        expect(ids().sort()).toEqual(['c', 'n']);
        expect(seen.find(({ message }) => message.id === 'n')?.message.key).toBeUndefined();
        expect(seen.find(({ message }) => message.id === 'c')?.message.payload).toEqual(payload);
      });
    });

    describe('events', () => {
      it('reach every durable reader, from its first subscription on, also while it is away', async () => {
        await bus.publish([queuedEvent('before')]);
        const first = recorder();
        const other = recorder();
        const spec = { durable: 'api-runs', names: ['runs.queued'], maxInFlight: 4 } as const;
        const subscription = await bus.subscribe(spec, first.handler);
        await bus.subscribe({ ...spec, durable: 'metrics' }, other.handler);
        await bus.publish([queuedEvent('e1')]);
        await eventually('both have the event', () => first.seen.length === 1 && other.seen.length === 1);
        await subscription.drain(1000);
        await bus.publish([queuedEvent('e2')]);
        await eventually('the other has the second', () => other.seen.length === 2);
        const again = recorder();
        await bus.subscribe(spec, again.handler);
        await eventually('it comes to the one that was away', () => again.seen.length === 1);
        expect([first.ids(), again.ids(), other.ids()]).toEqual([['e1'], ['e2'], ['e1', 'e2']]);
      });

      it('are failed by one reader without the other knowing', async () => {
        const good = recorder();
        await bus.subscribe({ durable: 'good', names: ['runs.queued'], maxInFlight: 4 }, good.handler);
        await bus.subscribe({ durable: 'bad', names: ['runs.queued'], maxInFlight: 4 }, async () => {
          throw new AppError('unprocessable', 'not for me');
        });
        await bus.publish([queuedEvent('e1')]);
        await eventually('it is dead for one', async () => (await bus.deadLetters.count()) === 1);
        await eventually('it is there for the other', () => good.seen.length === 1);
        const [dead] = (await bus.deadLetters.list({ limit: 10 })).items;
        expect(dead).toMatchObject({ message_id: 'e1', consumer: 'bad', name: 'runs.queued' });
      });
    });

    describe('publishing', () => {
      const valid = startMessage('x');
      it.each<[string, OutgoingMessage, string]>([
        [
          'a field that the contract does not know',
          { ...valid, payload: { ...(valid.payload as object), extra: 1 } },
          'invalid_input',
        ],
        ['a missing field', { ...valid, payload: { run_id: 'x' } }, 'invalid_input'],
        [
          'a field of another type',
          { ...valid, payload: { run_id: 'x', service: 's', attempt: '1' } },
          'invalid_input',
        ],
        ['a payload that is no object', { ...valid, payload: null }, 'invalid_input'],
        ['no payload', { ...valid, payload: undefined }, 'invalid_input'],
        [
          'no key where one belongs',
          { id: 'x', name: 'runs.start', payload: valid.payload },
          'invalid_input',
        ],
        [
          'a key where none belongs',
          { id: 'x', name: 'storage.notify', key: 'k', payload: {} },
          'invalid_input',
        ],
        ['an empty key', { ...valid, key: '' }, 'invalid_input'],
        ['an empty id', { ...valid, id: '' }, 'invalid_input'],
        ['an id that is too long', { ...valid, id: 'x'.repeat(201) }, 'invalid_input'],
        [
          'more than 1 MiB',
          { id: 'x', name: 'storage.notify', payload: 'x'.repeat(1024 * 1024) },
          'too_large',
        ],
      ])('refuses %s', async (_what, message, code) => {
        await expect(bus.publish([message])).rejects.toMatchObject({ code, retry: 'never' });
        await bus.publish([startMessage('good')]);
        const { ids, handler } = recorder();
        await bus.subscribe(
          { durable: 'r', names: ['runs.start', 'storage.notify'], maxInFlight: 4 },
          handler,
        );
        await eventually('the next message comes', () => ids().includes('good'));
        expect(ids()).toEqual(['good']);
      });

      it('refuses a name that is not in the catalogue', async () => {
        const message = { ...valid, name: 'runs.explode' } as unknown;
        await expect(bus.publish([message as OutgoingMessage])).rejects.toMatchObject({
          code: 'invalid_input',
        });
      });

      it('takes a payload of nearly 1 MiB, whole', async () => {
        const { seen, handler } = recorder();
        await bus.subscribe({ durable: 'r', names: ['storage.notify'], maxInFlight: 1 }, handler);
        const payload = { text: 'ü'.repeat(500_000) };
        await bus.publish([{ id: 'big', name: 'storage.notify', payload }]);
        await eventually('it is delivered', () => seen.length === 1);
        expect(seen[0]?.message.payload).toEqual(payload);
      });

      it('stores an id once, while the message waits and for a moment after it is done', async () => {
        await bus.publish([startMessage('a'), startMessage('a')]);
        await bus.publish([startMessage('a')]);
        const { ids, handler } = recorder();
        await bus.subscribe({ durable: 'r', names: ['runs.start'], maxInFlight: 4 }, handler);
        await eventually('it is delivered', () => ids().length === 1);
        await bus.publish([startMessage('a'), startMessage('b')]);
        await eventually('the next one comes', () => ids().includes('b'));
        expect(ids()).toEqual(['a', 'b']);
      });

      it('refuses more than the stream may hold, and goes on once there is room', async () => {
        const small = await make({ commands: 5 });
        try {
          await small.bus.publish(numbered(5).map((id) => startMessage(id)));
          await expect(small.bus.publish([startMessage('more')])).rejects.toMatchObject({
            code: 'limit_reached',
          });
          const queue = await small.bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 5 });
          for (const delivery of await queue.fetch('thumbnail', 2)) await delivery.ack();
          await small.bus.publish([startMessage('more')]);
          await expect(small.bus.publish([startMessage('n1'), startMessage('n2')])).rejects.toMatchObject({
            code: 'limit_reached',
            retry: 'later',
          });
        } finally {
          await small.close();
        }
      });
    });

    it('is refused when it is closed', async () => {
      await bus.check();
      await bus.close();
      await expect(bus.publish([startMessage('a')])).rejects.toMatchObject({ code: 'unavailable' });
      await expect(bus.check()).rejects.toMatchObject({ code: 'unavailable' });
    });
  });
  describeBusReliability(name, make);
  describeBusLive(name, make);
  describeDeadLetters(name, make);
}
