import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '@sluice/shared/adapters';
import { runStates } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import { claimOne, fakeClock, newRun } from '@sluice/shared/testing';
import { ledgerOf, open, tempDatabase } from './sqlite-fixture.ts';

let path: string;
let remove: () => Promise<void>;
let db: Database;
let ledger: RunLedger;
const clock = fakeClock();
beforeAll(async () => {
  ({ path, remove } = await tempDatabase());
  db = open(path, clock);
  ledger = ledgerOf(db, { clock });
});
afterAll(async () => {
  await db.close();
  await remove();
});

/** The plan of every statement that the ledger prepared while `work` ran; a full scan of a table of runs says SCAN. */
async function plansOf(work: () => Promise<unknown>): Promise<string[]> {
  const texts = new Set<string>();
  const watched: Database = {
    ...db,
    prepare: (sql) => {
      texts.add(sql);
      return db.prepare(sql);
    },
    occupy: () => () => undefined,
  };
  const before = ledger;
  ledger = ledgerOf(watched, { clock });
  await work();
  ledger = before;
  return [...texts].flatMap((sql) =>
    /^(SELECT|UPDATE|DELETE|WITH)/.test(sql)
      ? db
          .prepare<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
          .all()
          .map(({ detail }) => `${detail} -- ${sql}`)
      : [],
  );
}

describe('statements', () => {
  it('walk indexes: none scans or sorts a table that grows with the runs', async () => {
    const plans = await plansOf(async () => {
      const run = await claimOne(ledger);
      for (const order of ['newest', 'oldest'] as const) {
        for (const states of [undefined, ['queued'], [...runStates]] as const) {
          const input = { bucket: 'b', key: 'k' };
          for (const filter of [
            {},
            { service: 's' },
            { serviceUid: run.service_uid },
            { input },
            { input, service: 's' },
          ]) {
            await ledger.list({ limit: 5, order, ...filter, ...(states === undefined ? {} : { states }) });
          }
        }
      }
      await ledger.counts();
      await ledger.versionsInUse();
      await ledger.expire({ claimsBefore: 0, recordsBefore: 0, limit: 10 });
    });
    expect(plans.length).toBeGreaterThan(30);
    const scans = plans.filter((plan) => /^SCAN (runs|r|c|f|run_facts|run_claims)\b/.test(plan));
    // A listing of everything walks the table in its own order; versions in use have an index of their own.
    const bad = scans.filter(
      (plan) => !/^SCAN runs -- .*WHERE true|USING (COVERING )?INDEX runs_versions/.test(plan),
    );
    expect(bad).toEqual([]);
  });
});

describe('many runs', () => {
  it('are counted and listed without reading them all', async () => {
    for (let batch = 0; batch < 20; batch += 1) {
      await ledger.claim(Array.from({ length: 1000 }, (_, index) => newRun({ service: `s${index % 10}` })));
    }
    const started = performance.now();
    for (let round = 0; round < 100; round += 1) {
      await ledger.counts();
      await ledger.counts('s1');
      await ledger.list({ limit: 10, service: 's1', states: ['failed'] });
    }
    // 20,000 rows read once take more than 10 ms; this is 300 questions.
    expect(performance.now() - started).toBeLessThan(1000);
    expect((await ledger.counts('s1')).queued).toBe(2000);
  });

  it('whose events are big come in smaller pages', async () => {
    const data = 'x'.repeat(60_000);
    const service = 'big';
    const runs = Array.from({ length: 300 }, () =>
      newRun({ service, event: { kind: 'inline', encoding: 'utf8', data } }),
    );
    await ledger.claim(runs);
    const first = await ledger.list({ service, limit: 1000 });
    expect(first.items.length).toBeLessThan(200);
    const second = await ledger.list({
      service,
      limit: 1000,
      ...(first.next === undefined ? {} : { cursor: first.next }),
    });
    const third = await ledger.list({
      service,
      limit: 1000,
      ...(second.next === undefined ? {} : { cursor: second.next }),
    });
    expect(new Set([...first.items, ...second.items, ...third.items].map(({ id }) => id)).size).toBe(300);
  });
});

describe('the outbox', () => {
  it('refuses claims, not changes, when it holds too much', async () => {
    const small = ledgerOf({ ...db, occupy: () => () => undefined }, { clock, maxOutbox: 0 });
    await expect(small.claim([newRun()])).rejects.toMatchObject({ code: 'limit_reached', retry: 'later' });
    const run = await claimOne(ledger);
    expect((await small.transition({ id: run.id, from: ['queued'], to: 'cancelled' })).applied).toBe(true);
  });
});

describe('retention', () => {
  it('goes by the ages of claims and of endings', async () => {
    const service = 'aging';
    const early = await claimOne(ledger, { service });
    clock.advance(1000);
    await ledger.transition({ id: early.id, from: ['queued'], to: 'failed' });
    const finished = clock.now();
    clock.advance(1000);
    const late = await claimOne(ledger, { service });
    await ledger.transition({ id: late.id, from: ['queued'], to: 'failed' });
    const older = await ledger.expire({ claimsBefore: clock.now() + 1, recordsBefore: finished, limit: 10 });
    expect(older.records.filter((it) => it.service === service)).toEqual([]);
    expect(await ledger.claimed([early.id, late.id])).toEqual([true, true]);
    const one = await ledger.expire({ claimsBefore: 0, recordsBefore: finished + 1, limit: 10 });
    expect(one.records.map(({ id }) => id)).toContain(early.id);
    expect(one.records.map(({ id }) => id)).not.toContain(late.id);
    await ledger.expire({ claimsBefore: early.created_at, recordsBefore: 0, limit: 10 });
    expect(await ledger.claimed([early.id])).toEqual([true]);
    await ledger.expire({ claimsBefore: early.created_at + 1, recordsBefore: 0, limit: 10 });
    expect(await ledger.claimed([early.id, late.id])).toEqual([false, true]);
  });
});
