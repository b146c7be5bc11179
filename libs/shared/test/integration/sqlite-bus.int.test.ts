import type { Bus } from '@sluice/shared/bus';
import { describeBus, describeBusPending } from '@sluice/shared/testing';
import { busOf, harnessOf } from './sqlite-fixture.ts';

const make: Parameters<typeof describeBus>[1] = async (limits = {}) => {
  let bus: Bus | undefined;
  const { it, restart, close } = await harnessOf((db) => (bus = busOf(db, limits)));
  return {
    bus: it,
    restart,
    close: async () => {
      await bus?.close();
      await close();
    },
  };
};
describeBus('SQLite', make);
describeBusPending('SQLite', make);
