import { describeRunModel } from '../../src/testing/run-model.suite.ts';
import { harnessOf, ledgerOf } from './sqlite-fixture.ts';

describeRunModel(
  'SQLite',
  async () => {
    const { it, ...rest } = await harnessOf((db) => ledgerOf(db));
    return { ledger: it, ...rest };
  },
  true,
);
