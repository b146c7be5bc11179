import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSqliteBus, openDatabase, type BusLimits } from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { describeBus } from '@sluice/shared/testing';
import type { Bus } from '@sluice/shared/bus';

describeBus('SQLite', async (limits: BusLimits = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bus-'));
  const log = silentLogger();
  const open = (): { bus: Bus; close: () => Promise<void> } => {
    const db = openDatabase({ path: join(folder, 'sluice.db'), clock: systemClock, log });
    const bus = createSqliteBus({
      db,
      namespace: 'test',
      clock: systemClock,
      log,
      random: randomBytes,
      limits,
    });
    return { bus, close: async () => db.close() };
  };
  let current = open();
  return {
    bus: current.bus,
    restart: async () => {
      // Without closing the bus: what it had in hand stays in hand, as after a kill.
      await current.close();
      current = open();
      return current.bus;
    },
    close: async () => {
      await current.bus.close();
      await current.close();
      await rm(folder, { recursive: true });
    },
  };
});
