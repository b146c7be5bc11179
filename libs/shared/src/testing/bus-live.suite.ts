import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus, LiveMessage, OutgoingHint } from '../bus/index.ts';
import type { MessageName } from '../contracts/index.ts';
import { type BusHarness, type MakeBus, startMessage } from './bus-harness.ts';
import { eventually } from './eventually.ts';

const demand = (service: string, waiting = 1): OutgoingHint => ({
  name: 'runners.demand',
  key: service,
  payload: { service, service_uid: 'u', caller: 'c', waiting, active: 0 },
});

/** What is said to whoever listens now: hints, and events beside their durable readers. */
export function describeBusLive(name: string, make: MakeBus): void {
  describe(`bus, live: ${name}`, () => {
    let harness: BusHarness;
    let bus: Bus;
    beforeEach(async () => {
      harness = await make();
      ({ bus } = harness);
    });
    afterEach(async () => harness.close());

    it('tells every listener, once for each time it listens, until it stops', async () => {
      const heard: string[] = [];
      const listen = async (who: string): ReturnType<Bus['listen']> =>
        bus.listen(['runners.demand'], ({ key }) => heard.push(`${who}:${key}`));
      const first = await listen('a');
      await listen('b');
      bus.hint(demand('ä b.*>'));
      await eventually('both hear it', () => heard.length === 2);
      expect(heard.sort()).toEqual(['a:ä b.*>', 'b:ä b.*>']);
      await first.stop();
      bus.hint(demand('later'));
      await eventually('the other one hears it', () => heard.includes('b:later'));
      expect(heard).not.toContain('a:later');
    });

    it('gives a hint as it was said, and nothing to those who listen to others', async () => {
      const heard: LiveMessage[] = [];
      await bus.listen(['runners.demand', 'runners.ask'], (message) => heard.push(message));
      bus.hint({
        name: 'runners.state',
        key: 's',
        payload: {
          service: 's',
          service_uid: 'u',
          state: 'ready',
          reason: '',
          desired: 0,
          limit: 1,
          runners: [],
          since: 1,
        },
      });
      bus.hint({ name: 'runners.ask', payload: { caller: 'me' } });
      await eventually('it is heard', () => heard.length > 0);
      expect(heard).toEqual([
        { id: undefined, name: 'runners.ask', key: undefined, payload: { caller: 'me' } },
      ]);
    });

    it('tells of an event once it is stored, also where nobody reads it durably', async () => {
      const heard: LiveMessage[] = [];
      await bus.listen(['runs.queued'], (message) => heard.push(message));
      const payload = {
        run_id: 'r',
        service: 's',
        service_uid: 'u',
        state: 'queued',
        attempt: 1,
        source: 'job',
        at: 1,
      };
      await bus.publish([{ id: 'e', name: 'runs.queued', key: 's', payload }]);
      await eventually('it is heard', () => heard.length === 1);
      expect(heard).toEqual([{ id: 'e', name: 'runs.queued', key: 's', payload }]);
    });

    it('says when something may have been missed, and goes on', async () => {
      const gaps: string[] = [];
      let heard = 0;
      const count = (): void => {
        heard += 1;
      };
      await bus.listen(['runners.demand'], count, () => gaps.push('a'));
      const stopped = await bus.listen(['runners.demand'], count, () => gaps.push('b'));
      await stopped.stop();
      await harness.cut?.();
      // Where nothing can be missed nobody is told so.
      if (harness.cut !== undefined) await eventually('it is said', () => gaps.length > 0);
      bus.hint(demand('s'));
      await eventually('what comes next is heard', () => heard === 1);
      expect(gaps).toEqual(harness.cut === undefined ? [] : ['a']);
    });

    it('goes on after a listener that throws', async () => {
      let heard = 0;
      await bus.listen(['runners.demand'], () => {
        throw new Error('broken');
      });
      await bus.listen(['runners.demand'], () => {
        heard += 1;
      });
      bus.hint(demand('s'));
      bus.hint(demand('s'));
      await eventually('the other one hears both', () => heard === 2);
    });

    it('refuses what breaks the contract, commands, and what nobody knows', async () => {
      expect(() => bus.hint(demand('s', -1))).toThrow(/waiting/);
      expect(() => bus.hint({ name: 'runners.demand', payload: demand('s').payload })).toThrow(/key/);
      const unknown = { ...demand('s'), name: 'runners.explode' } as unknown;
      expect(() => bus.hint(unknown as OutgoingHint)).toThrow(/runners\.explode/);
      await expect(bus.listen(['runs.start'], () => undefined)).rejects.toMatchObject({
        code: 'invalid_input',
      });
      await expect(bus.listen(['nothing' as unknown as MessageName], () => undefined)).rejects.toMatchObject({
        code: 'invalid_input',
      });
      await bus.publish([startMessage('still works')]);
    });
  });
}
