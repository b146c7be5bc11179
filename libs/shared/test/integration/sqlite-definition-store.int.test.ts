import { randomBytes } from 'node:crypto';
import { createSqliteDefinitionStore } from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { describeDefinitionStore } from '@sluice/shared/testing';
import { harnessOf } from './sqlite-fixture.ts';

describeDefinitionStore('SQLite', async () => {
  const { it, ...rest } = await harnessOf((db) =>
    createSqliteDefinitionStore({ db, clock: systemClock, random: randomBytes }),
  );
  return { store: it, ...rest };
});
