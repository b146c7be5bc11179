import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runStates, type Run } from '../contracts/index.ts';
import type { RunLedger, RunQuery } from '../stores/index.ts';
import { claimOne, type MakeRunLedger, moveTo, newRun, type RunLedgerHarness } from './run-ledger-harness.ts';

const everything = Number.MAX_SAFE_INTEGER;

/** What a ledger tells of runs and how it forgets them; part of `describeRunLedger`. */
export function describeRunHistory(name: string, make: MakeRunLedger): void {
  describe(`RunLedger, history: ${name}`, () => {
    let harness: RunLedgerHarness;
    let ledger: RunLedger;
    beforeEach(async () => {
      harness = await make();
      ({ ledger } = harness);
    });
    afterEach(async () => harness.close());

    /** Ids of all pages of a query. */
    const pages = async (query: RunQuery): Promise<string[]> => {
      const ids: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await ledger.list({ ...query, ...(cursor === undefined ? {} : { cursor }) });
        expect(page.items.length).toBeLessThanOrEqual(query.limit);
        ids.push(...page.items.map(({ id }) => id));
        cursor = page.next;
      } while (cursor !== undefined);
      return ids;
    };

    it('notes a wish to cancel, once', async () => {
      const { id } = await claimOne(ledger);
      const asked = await ledger.requestCancel(id, 'cancelled by me');
      expect(asked).toMatchObject({ state: 'queued' });
      expect(asked?.cancel_requested_at).toBeTypeOf('number');
      expect(asked?.timeline.at(-1)?.message).toBe('cancelled by me');
      expect(await ledger.requestCancel(id, 'again')).toEqual(asked);
      expect(await ledger.get(id)).toEqual(asked);
      const done = await moveTo(ledger, id, 'cancelled');
      expect(await ledger.requestCancel(id, 'too late')).toEqual(done);
      expect(await ledger.requestCancel('unknown', 'x')).toBeUndefined();
    });

    it('writes on the time line, at most fifty lines, the middle goes', async () => {
      const { id } = await claimOne(ledger);
      for (let index = 0; index < 60; index += 1) await ledger.note(id, 1, `line ${index}`);
      await ledger.note('unknown', 1, 'nobody hears it');
      const run = await ledger.get(id);
      expect(run?.timeline).toHaveLength(50);
      expect(run?.timeline[0]?.message).toContain('accepted');
      expect(run?.timeline[1]).toMatchObject({ message: 'line 0', state: 'queued', attempt: 1 });
      expect(run?.timeline.at(-1)?.message).toBe('line 59');
      expect(run?.state).toBe('queued');
    });

    it('lists by service, uid, state and input, in order of acceptance', async () => {
      const object = (key: string): Partial<Run> => ({
        input: { bucket: 'b', key, size: 1, etag: 'e', identity: 'i', last_modified: 1 },
      });
      const make = async (service: string, uid: string, key: string): Promise<string> =>
        (await claimOne(ledger, { service, service_uid: uid, ...object(key) })).id;
      const a1 = await make('a', 'a-old', 'one');
      const a2 = await make('a', 'a-old', 'two');
      const b1 = await make('b', 'b-uid', 'one');
      const a3 = await make('a', 'a-new', 'one');
      await moveTo(ledger, a1, 'failed');
      await moveTo(ledger, a3, 'starting', 'running');
      const all = [a1, a2, b1, a3];
      const cases: [Partial<RunQuery>, string[]][] = [
        [{}, all],
        [{ service: 'a' }, [a1, a2, a3]],
        [{ service: 'nobody' }, []],
        [{ serviceUid: 'a-old' }, [a1, a2]],
        [{ serviceUid: 'a-new' }, [a3]],
        [{ serviceUid: 'unknown' }, []],
        [{ service: 'b', serviceUid: 'a-new' }, []],
        [{ serviceUid: 'a-old', states: ['queued'] }, [a2]],
        [{ states: ['queued'] }, [a2, b1]],
        [{ states: ['failed', 'running'] }, [a1, a3]],
        [{ states: ['succeeded'] }, []],
        [{ service: 'a', states: ['queued', 'failed'] }, [a1, a2]],
        [{ input: { bucket: 'b', key: 'one' } }, [a1, b1, a3]],
        [{ input: { bucket: 'b', key: 'one' }, service: 'a', states: ['failed'] }, [a1]],
        [{ input: { bucket: 'b', key: 'one' }, serviceUid: 'a-new' }, [a3]],
        [{ input: { bucket: 'b', key: 'on' } }, []],
      ];
      for (const [query, expected] of cases) {
        for (const limit of [1, 2, 10]) {
          expect(await pages({ ...query, limit, order: 'oldest' }), JSON.stringify(query)).toEqual(expected);
          expect(await pages({ ...query, limit }), JSON.stringify(query)).toEqual(expected.toReversed());
        }
      }
      const [newest] = (await ledger.list({ limit: 1 })).items;
      expect(newest).toEqual(await ledger.get(a3));
    });

    it('refuses a cursor that it did not give, and odd limits', async () => {
      for (let index = 0; index < 3; index += 1) await claimOne(ledger);
      const { next } = await ledger.list({ limit: 2 });
      for (const cursor of ['', 'x', 'bm90IG91cnM', `${next}x`]) {
        await expect(ledger.list({ limit: 2, cursor })).rejects.toMatchObject({
          code: 'invalid_input',
          field: 'cursor',
        });
      }
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        await expect(ledger.list({ limit })).rejects.toMatchObject({ code: 'invalid_input', field: 'limit' });
      }
    });

    it('counts by state, of one service or of all', async () => {
      const none = Object.fromEntries(runStates.map((state) => [state, 0]));
      expect(await ledger.counts()).toEqual(none);
      const [a, b] = [await claimOne(ledger, { service: 'a' }), await claimOne(ledger, { service: 'b' })];
      await claimOne(ledger, { service: 'b' });
      await moveTo(ledger, a.id, 'starting', 'running', 'succeeded');
      await moveTo(ledger, b.id, 'starting');
      expect(await ledger.counts()).toEqual({ ...none, succeeded: 1, starting: 1, queued: 1 });
      expect(await ledger.counts('b')).toEqual({ ...none, starting: 1, queued: 1 });
      expect(await ledger.counts('nobody')).toEqual(none);
      await ledger.remove([a.id]);
      ledger = await harness.restart();
      expect(await ledger.counts()).toEqual({ ...none, starting: 1, queued: 1 });
      expect(await ledger.counts('a')).toEqual(none);
    });

    it('knows which versions are in use', async () => {
      expect(await ledger.versionsInUse()).toEqual(new Set());
      const start = async (uid: string, version: number): Promise<string> => {
        const { id } = await claimOne(ledger, { service_uid: uid });
        await ledger.transition({ id, from: ['queued'], to: 'starting', set: { service_version: version } });
        return id;
      };
      const first = await start('u', 1);
      await start('u', 1);
      const second = await start('u', 2);
      await start('v', 7);
      await claimOne(ledger, { service_uid: 'w' });
      await moveTo(ledger, second, 'failed');
      await moveTo(ledger, first, 'running');
      // Waits for its second attempt, which is to run the same version.
      const again = await start('x', 3);
      await ledger.transition({ id: again, from: ['starting'], to: 'queued', set: { attempt: 2 } });
      expect(await ledger.versionsInUse()).toEqual(new Set(['u/1', 'v/7', 'x/3']));
    });

    it('removes records of finished runs only; their claims stay', async () => {
      const [done, open] = [await claimOne(ledger), await claimOne(ledger)];
      await moveTo(ledger, done.id, 'succeeded');
      expect(await ledger.remove([open.id, done.id, 'unknown', done.id])).toEqual([done.id]);
      expect(await ledger.get(done.id)).toBeUndefined();
      expect(await ledger.get(open.id)).toBeDefined();
      expect(await ledger.claimed([done.id, open.id])).toEqual([true, true]);
      expect(await ledger.claim([newRun({ id: done.id })])).toEqual([{ id: done.id, created: false }]);
      expect(await ledger.get(done.id)).toBeUndefined();
      expect((await ledger.transition({ id: done.id, from: ['queued'], to: 'starting' })).applied).toBe(
        false,
      );
      expect((await ledger.list({ limit: 10 })).items.map(({ id }) => id)).toEqual([open.id]);
    });

    it('forgets records and claims apart, in bounded steps', async () => {
      const runs: Run[] = [];
      for (let index = 0; index < 5; index += 1) runs.push(await claimOne(ledger));
      const ids = runs.map(({ id }) => id);
      for (const { id } of runs.slice(0, 3)) await moveTo(ledger, id, 'failed');
      expect(await ledger.expire({ claimsBefore: 0, recordsBefore: 0, limit: 100 })).toEqual({
        claims: 0,
        records: [],
      });

      const first = await ledger.expire({ claimsBefore: 0, recordsBefore: everything, limit: 2 });
      expect(first.claims).toBe(0);
      expect(first.records).toHaveLength(2);
      expect(first.records[0]?.service).toBe('thumbnail');
      expect(await ledger.claimed(ids)).toEqual(ids.map(() => true));
      const second = await ledger.expire({ claimsBefore: 0, recordsBefore: everything, limit: 2 });
      expect([...first.records, ...second.records].map(({ id }) => id).sort()).toEqual(
        ids.slice(0, 3).sort(),
      );

      const claims = await ledger.expire({ claimsBefore: everything, recordsBefore: 0, limit: 2 });
      expect(claims).toEqual({ claims: 2, records: [] });
      expect((await ledger.expire({ claimsBefore: everything, recordsBefore: 0, limit: 100 })).claims).toBe(
        1,
      );
      // Those that are not finished stay.
      expect(await ledger.claimed(ids)).toEqual([false, false, false, true, true]);
      // A listing by uid finds what is claimed after everything was forgotten.
      const again = await claimOne(ledger, { id: ids[0] ?? '' });
      expect(await pages({ serviceUid: again.service_uid, limit: 10, order: 'oldest' })).toEqual([
        ...ids.slice(3),
        ids[0],
      ]);
    });

    it('works', async () => {
      await expect(ledger.check()).resolves.toBeUndefined();
    });
  });
}
