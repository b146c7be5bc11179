import { createSqliteSettings } from '@sluice/shared/adapters';
import { describeSettings } from '@sluice/shared/testing';
import { harnessOf } from './sqlite-fixture.ts';

describeSettings('SQLite', async () => {
  const { it, ...rest } = await harnessOf(createSqliteSettings);
  return { settings: it, ...rest };
});
