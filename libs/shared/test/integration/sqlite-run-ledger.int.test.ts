import { describeRunLedger } from '@sluice/shared/testing';
import { harnessOf, ledgerOf } from './sqlite-fixture.ts';

describeRunLedger('SQLite', async () => {
  const { it, ...rest } = await harnessOf((db) => ledgerOf(db));
  return { ledger: it, ...rest };
});
