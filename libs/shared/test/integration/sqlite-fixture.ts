import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BusLimits,
  createSqliteBus,
  createSqliteRunLedger,
  type Database,
  openDatabase,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import { runChangedMessage, runStartMessage } from '@sluice/shared/contracts';
import { type Clock, systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import type { RunLedger } from '@sluice/shared/stores';

export const log = silentLogger();

/** A folder of its own, and the path of a database in it. */
export async function tempDatabase(): Promise<{
  readonly path: string;
  readonly remove: () => Promise<void>;
}> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-db-'));
  return {
    path: join(folder, 'sluice.db'),
    remove: async () => rm(folder, { recursive: true, force: true }),
  };
}

export function open(path: string, clock: Clock = systemClock): Database {
  return openDatabase({ path, clock, log });
}

export function busOf(db: Database, limits: BusLimits = {}, clock: Clock = systemClock): Bus {
  return createSqliteBus({ db, namespace: 'test', clock, log, random: randomBytes, limits });
}

export function ledgerOf(db: Database, options: { clock?: Clock; maxOutbox?: number } = {}): RunLedger {
  const { clock = systemClock, ...rest } = options;
  return createSqliteRunLedger({
    db,
    clock,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
    startMessage: (run) => runStartMessage(run),
    ...rest,
  });
}

/**
 * One adapter over a database of its own, for the port suites. A restart closes the database under the adapter: what
 * the adapter has in hand stays in hand, as after a kill.
 */
export async function harnessOf<T>(make: (db: Database) => T): Promise<{
  readonly it: T;
  restart(): Promise<T>;
  close(): Promise<void>;
}> {
  const { path, remove } = await tempDatabase();
  let db = open(path);
  return {
    it: make(db),
    restart: async () => {
      await db.close();
      db = open(path);
      return make(db);
    },
    close: async () => {
      await db.close();
      await remove();
    },
  };
}
