import { isFinal, runStates } from '../contracts/index.ts';
import { inSteps } from './in-steps.ts';
import type { RunLedger } from '../stores/index.ts';
import type { Database } from './sqlite-database.ts';
import type { RunCounts } from './sqlite-run-counts.ts';
import { checkBatch, runOf } from './run-record.ts';
import type { RunTables } from './sqlite-run-tables.ts';
import type { Transaction } from './sqlite-transaction.ts';

interface FinishedRow {
  readonly seq: number;
  readonly id: string;
  readonly service: string;
  readonly state: number;
}

/** Rows dropped in one transaction: the event loop stands still while it runs. */
const step = 500;

/** How records and claims go. */
export function createRunRetention(
  db: Database,
  tables: RunTables,
  counts: RunCounts,
): Pick<RunLedger, 'remove' | 'expire'> {
  const finished = db.prepare<FinishedRow>(
    `SELECT r.seq, c.id, r.service, r.state FROM runs r JOIN run_claims c ON c.seq = r.seq
     WHERE r.finished_at IS NOT NULL AND r.finished_at < ? ORDER BY r.finished_at LIMIT ?`,
  );
  const dropClaims = db.prepare(
    `DELETE FROM run_claims WHERE seq IN (
       SELECT seq FROM run_claims WHERE recordless = 1 AND made_at < ? ORDER BY made_at LIMIT ?)`,
  );
  const dropRecord = (transaction: Transaction, { seq, service, state }: Omit<FinishedRow, 'id'>): void => {
    tables.remove(seq);
    counts.move(transaction, service, runStates[state], undefined);
  };
  const expireRecords = async (before: number, limit: number): Promise<readonly FinishedRow[]> =>
    db.write((transaction) => {
      const rows = finished.all(Math.ceil(before), limit);
      for (const row of rows) dropRecord(transaction, row);
      return rows;
    });
  const expireClaims = async (before: number, limit: number): Promise<number> =>
    Number((await db.write(() => dropClaims.run(Math.ceil(before), limit))).changes);

  return {
    remove: async (ids) => {
      checkBatch(ids);
      return db.write((transaction) =>
        [...new Set(ids)].filter((id) => {
          const found = tables.find(id);
          const run = found === undefined ? undefined : runOf(found);
          if (found === undefined || run === undefined || !isFinal(run.state)) return false;
          dropRecord(transaction, { seq: found.seq, service: run.service, state: found.state });
          return true;
        }),
      );
    },
    expire: async ({ claimsBefore, recordsBefore, limit }) => {
      const records = await inSteps(
        { limit, step },
        async (some) => expireRecords(recordsBefore, some),
        (rows) => rows.length,
      );
      const claims = await inSteps(
        { limit, step },
        async (some) => expireClaims(claimsBefore, some),
        (gone) => gone,
      );
      return {
        claims: claims.reduce((sum, gone) => sum + gone, 0),
        records: records.flat().map(({ id, service }) => ({ id, service })),
      };
    },
  };
}
