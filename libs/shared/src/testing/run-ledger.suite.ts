import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Run } from '../contracts/index.ts';
import type { OutboxEntry, RunLedger, Transition } from '../stores/index.ts';
import { eventually } from './eventually.ts';
import { claimOne, type MakeRunLedger, moveTo, newRun, type RunLedgerHarness } from './run-ledger-harness.ts';
import { describeRunHistory } from './run-history.suite.ts';

/** What every run ledger does. Written against the port: hints may come late, lists need not be of one moment. */
export function describeRunLedger(name: string, make: MakeRunLedger): void {
  describe(`RunLedger: ${name}`, () => {
    let harness: RunLedgerHarness;
    let ledger: RunLedger;
    beforeEach(async () => {
      harness = await make();
      ({ ledger } = harness);
    });
    afterEach(async () => harness.close());

    const outbox = async (limit = 1000): Promise<readonly OutboxEntry[]> => ledger.readOutbox(limit);
    const emptyOutbox = async (): Promise<void> =>
      ledger.removeFromOutbox((await outbox()).map(({ seq }) => seq));

    describe('claims', () => {
      it('accept a run, durably', async () => {
        const input = newRun({ user: 'me', hop: 2, retry_of: 'thumbnail-old' });
        expect(await ledger.claim([input])).toEqual([{ id: input.id, created: true }]);
        ledger = await harness.restart();
        const run = await ledger.get(input.id);
        expect(run).toMatchObject({
          ...input,
          state: 'queued',
          attempt: 1,
          infra_failures: 0,
          script_failures: 0,
        });
        expect(run?.timeline).toHaveLength(1);
        expect(run?.timeline[0]).toMatchObject({ at: run?.created_at, attempt: 1, state: 'queued' });
        expect(run?.timeline[0]?.message).toContain('thumbnail/in/photo.jpg');
      });

      it('are made once, however often they are asked for', async () => {
        const input = newRun();
        const results = await Promise.all(Array.from({ length: 20 }, async () => ledger.claim([input])));
        expect(results.flat().filter(({ created }) => created)).toHaveLength(1);
        const before = await ledger.get(input.id);
        const other = newRun();
        const again = await ledger.claim([{ ...input, hop: 9 }, other, other]);
        expect(again).toEqual([
          { id: input.id, created: false },
          { id: other.id, created: true },
          { id: other.id, created: false },
        ]);
        expect(await ledger.get(input.id)).toEqual(before);
        expect((await ledger.counts()).queued).toBe(2);
      });

      it('are answered for a thousand at a time, not more', async () => {
        const runs = Array.from({ length: 1000 }, () => newRun());
        expect((await ledger.claim(runs)).every(({ created }) => created)).toBe(true);
        const ids = runs.map(({ id }, index) => (index % 2 === 0 ? id : `unknown-${index}`));
        const claimed = await ledger.claimed(ids);
        expect(claimed).toEqual(ids.map((_, index) => index % 2 === 0));
        await expect(ledger.claim([...runs, newRun()])).rejects.toMatchObject({ code: 'invalid_input' });
        await expect(ledger.claimed([...ids, 'x'])).rejects.toMatchObject({ code: 'invalid_input' });
        expect(await ledger.claim([])).toEqual([]);
      });
    });

    describe('the outbox', () => {
      it('has the command and the event of a claim, until they are removed', async () => {
        const run = await claimOne(ledger);
        ledger = await harness.restart();
        const entries = await outbox();
        expect(entries.map(({ message }) => message.name).sort()).toEqual(['runs.queued', 'runs.start']);
        const start = entries.find(({ message }) => message.name === 'runs.start')?.message;
        expect(start).toMatchObject({ key: 'thumbnail', traceparent: run.traceparent });
        expect(start?.payload).toMatchObject({ run_id: run.id, service: 'thumbnail', attempt: 1 });
        await ledger.removeFromOutbox(entries.slice(0, 1).map(({ seq }) => seq));
        expect(await outbox()).toEqual(entries.slice(1));
        await ledger.removeFromOutbox(entries.map(({ seq }) => seq));
        await ledger.removeFromOutbox([...entries.map(({ seq }) => seq), 'never given', '']);
        expect(await outbox()).toEqual([]);
      });

      it('is read oldest first, in pieces', async () => {
        const ids: string[] = [];
        for (let index = 0; index < 6; index += 1) ids.push((await claimOne(ledger)).id);
        const read: string[] = [];
        for (;;) {
          const entries = await outbox(5);
          if (entries.length === 0) break;
          expect(entries.length).toBeLessThanOrEqual(5);
          read.push(
            ...entries
              .filter(({ message }) => message.name === 'runs.start')
              .map(({ message }) => message.id),
          );
          await ledger.removeFromOutbox(entries.map(({ seq }) => seq));
        }
        expect(read).toEqual(ids.map((id) => `${id}.1.start`));
      });

      it('tells soon that it has something', async () => {
        let hints = 0;
        const stop = ledger.onOutbox(() => {
          hints += 1;
        });
        await eventually('a hint', async () => {
          await claimOne(ledger);
          return hints > 0;
        });
        stop();
        expect(hints).toBeGreaterThan(0);
      });

      it('gets the event of a change, and what is to be published with it', async () => {
        const run = await claimOne(ledger);
        await emptyOutbox();
        const next = {
          id: 'next',
          name: 'runs.start',
          key: 'thumbnail',
          payload: { run_id: run.id, service: 'thumbnail', attempt: 2 },
        } as const;
        await ledger.transition({
          id: run.id,
          from: ['queued'],
          to: 'queued',
          set: { attempt: 2 },
          publish: [next],
        });
        const names = (await outbox()).map(({ message }) => message.name);
        expect(names.sort()).toEqual(['runs.queued', 'runs.start']);
        await ledger.transition({ id: run.id, from: ['running'], to: 'failed', publish: [next] });
        expect(await outbox()).toHaveLength(2);
      });
    });

    describe('a change of state', () => {
      it('goes from queued to the end, with times and a time line', async () => {
        const { id } = await claimOne(ledger);
        const starting = await ledger.transition({
          id,
          from: ['queued'],
          attempt: 1,
          to: 'starting',
          set: { service_version: 3 },
          message: 'slot reserved',
        });
        expect(starting).toMatchObject({ applied: true, run: { state: 'starting', service_version: 3 } });
        const running = await moveTo(ledger, id, 'running');
        expect(running.started_at).toBeGreaterThanOrEqual(running.created_at);
        const outputs = [{ bucket: 'b', key: 'out/x', size: 1, etag: 'e', identity: 'i', last_modified: 1 }];
        const done = await ledger.transition({
          id,
          from: ['starting', 'running'],
          to: 'succeeded',
          set: { exit_code: 0, outputs, outputs_omitted: 0 },
          message: 'done',
        });
        ledger = await harness.restart();
        const run = await ledger.get(id);
        expect(done).toEqual({ applied: true, run });
        expect(run).toMatchObject({ state: 'succeeded', exit_code: 0, outputs, service_version: 3 });
        expect(run?.finished_at).toBeGreaterThanOrEqual(run?.started_at ?? Infinity);
        expect(run?.timeline.map(({ state, message }) => [state, message]).slice(1)).toEqual([
          ['starting', 'slot reserved'],
          ['running', undefined],
          ['succeeded', 'done'],
        ]);
      });

      it.each<[string, Partial<Transition>, string]>([
        ['of a run that is not there', { id: 'unknown' }, 'not_found'],
        ['from another state', { from: ['running', 'starting'] }, 'state'],
        ['of another attempt', { attempt: 2 }, 'attempt'],
        ['without a slot', { slots: 0 }, 'no_slot'],
        ['without a slot of its service', { slots: 9, serviceSlots: 0 }, 'no_slot'],
      ])('%s is refused as a whole', async (_what, change, reason) => {
        const run = await claimOne(ledger);
        await emptyOutbox();
        const result = await ledger.transition({
          id: run.id,
          from: ['queued'],
          to: 'starting',
          set: { exit_code: 9 },
          ...change,
        });
        expect(result).toEqual({ applied: false, reason, ...(reason === 'not_found' ? {} : { run }) });
        expect(await ledger.get(run.id)).toEqual(run);
        expect(await outbox()).toEqual([]);
      });

      it('never leads out of a final state', async () => {
        const { id } = await claimOne(ledger);
        const done = await moveTo(ledger, id, 'cancelled');
        const result = await ledger.transition({ id, from: ['cancelled'], to: 'queued' });
        expect(result).toEqual({ applied: false, reason: 'state', run: done });
      });

      it('is made by one of many at the same time', async () => {
        const { id } = await claimOne(ledger);
        const results = await Promise.all(
          Array.from({ length: 20 }, async (_, index) =>
            ledger.transition({ id, from: ['queued'], to: index % 2 === 0 ? 'starting' : 'cancelled' }),
          ),
        );
        expect(results.filter(({ applied }) => applied)).toHaveLength(1);
      });

      it('keeps to the slots, however many start at the same time', async () => {
        const runs = await Promise.all(
          Array.from({ length: 12 }, async (_, index) => claimOne(ledger, { service: `s${index}` })),
        );
        const start = async ({ id }: Run): Promise<boolean> =>
          (await ledger.transition({ id, from: ['queued'], to: 'starting', slots: 3 })).applied;
        const started = await Promise.all(runs.map(start));
        expect(started.filter(Boolean)).toHaveLength(3);
        const first = runs.find((_, index) => started[index]);
        const last = runs.findLast((_, index) => !started[index]);
        if (first === undefined || last === undefined) throw new Error('none');
        // A run that has a slot does not need another one.
        expect(
          (await ledger.transition({ id: first.id, from: ['starting'], to: 'starting', slots: 3 })).applied,
        ).toBe(true);
        await moveTo(ledger, first.id, 'running');
        expect(await start(last)).toBe(false);
        await moveTo(ledger, first.id, 'failed');
        expect(await start(last)).toBe(true);
        ledger = await harness.restart();
        const other = await claimOne(ledger);
        expect(
          await ledger.transition({ id: other.id, from: ['queued'], to: 'starting', slots: 3 }),
        ).toMatchObject({
          reason: 'no_slot',
        });
      });

      it('keeps to the slots of each service, and to those of all', async () => {
        const runs = await Promise.all(
          Array.from({ length: 12 }, async (_, index) => claimOne(ledger, { service: `s${index % 3}` })),
        );
        const start = async ({ id }: Run): Promise<boolean> =>
          (await ledger.transition({ id, from: ['queued'], to: 'starting', slots: 5, serviceSlots: 2 }))
            .applied;
        const ofOne = runs.filter(({ service }) => service === 's0');
        const first = await Promise.all(ofOne.map(start));
        expect(first.filter(Boolean)).toHaveLength(2);
        const others = await Promise.all(runs.filter(({ service }) => service !== 's0').map(start));
        expect(others.filter(Boolean)).toHaveLength(3);
        for (const service of ['s1', 's2']) {
          expect((await ledger.counts(service)).starting).toBeLessThanOrEqual(2);
        }
        const active = ofOne.find((_, index) => first[index]);
        const waiting = ofOne.find((_, index) => !first[index]);
        if (active === undefined || waiting === undefined) throw new Error('none');
        await moveTo(ledger, active.id, 'running');
        expect(await start(waiting)).toBe(false);
        await moveTo(ledger, active.id, 'succeeded');
        ledger = await harness.restart();
        expect(await start(waiting)).toBe(true);
      });

      it('to the next attempt drops what the last one left', async () => {
        const { id } = await claimOne(ledger);
        await moveTo(ledger, id, 'starting', 'running');
        const failure = { code: 'lost', message: 'the process vanished' };
        const queued = await ledger.transition({
          id,
          from: ['running'],
          to: 'queued',
          set: { attempt: 2, infra_failures: 1, exit_code: 137, failure },
        });
        expect(queued).toMatchObject({
          applied: true,
          run: { attempt: 2, infra_failures: 1, exit_code: 137, failure },
        });
        const starting = await moveTo(ledger, id, 'starting');
        for (const field of ['started_at', 'exit_code', 'failure'])
          expect(starting).not.toHaveProperty(field);
        const last = starting.timeline.at(-1);
        expect(last).toMatchObject({ attempt: 2, state: 'starting' });
      });
    });
  });
  describeRunHistory(name, make);
}
