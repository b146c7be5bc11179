import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus } from '../bus/index.ts';
import { type BusHarness, type MakeBus, startMessage } from './bus-harness.ts';

/** `WorkQueue.pending`, of every bus whose streams an emptied ledger is restored from. */
export function describeBusPending(name: string, make: MakeBus): void {
  describe(`bus, what a work queue holds: ${name}`, () => {
    let harness: BusHarness;
    let bus: Bus;
    beforeEach(async () => {
      harness = await make();
      ({ bus } = harness);
    });
    afterEach(async () => harness.close());

    it('shows what is ready, put off or in hand, and takes none of it', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 10 });
      await bus.publish(['a', 'b', 'c', 'd'].map((id) => startMessage(id)));
      const [held, done] = await queue.fetch('thumbnail', 2);
      await done?.ack();
      const [putOff] = await queue.fetch('thumbnail', 1);
      await putOff?.retry('not yet', 60_000);
      const seen = async (): Promise<string[]> => {
        const ids: string[] = [];
        for await (const message of queue.pending?.() ?? []) ids.push(message.id);
        return ids;
      };
      expect(await seen()).toEqual(['a', 'c', 'd']);
      await held?.ack();
      expect(await seen()).toEqual(['c', 'd']);
      expect((await queue.fetch('thumbnail', 2)).map(({ message }) => message.id)).toEqual(['d']);
      await queue.close();
    });

    it('shows more than a page, with all that a message says', async () => {
      const queue = await bus.workQueue({ durable: 'w', name: 'runs.start', maxInFlight: 10 });
      const traceparent = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';
      const ids = Array.from({ length: 1203 }, (_, index) => `m-${index}`);
      await bus.publish(ids.map((id, index) => ({ ...startMessage(id, `s-${index % 3}`), traceparent })));
      const found = [];
      for await (const message of queue.pending?.() ?? []) found.push(message);
      expect(found.map(({ id }) => id)).toEqual(ids);
      expect(found[4]).toEqual({ ...startMessage('m-4', 's-1'), traceparent });
      await queue.close();
    });
  });
}
