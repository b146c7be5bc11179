import { randomBytes } from 'node:crypto';
import {
  createFolderRunLogs,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteRunLedger,
  createSqliteSettings,
  type Database,
  type SecretBox,
  type SqliteDefinitionStore,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import { runChangedMessage, runStartMessage } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger, RunLogs, Settings } from '@sluice/shared/stores';
import type { Logger, Registry } from '@sluice/shared/telemetry';
import type { DataFolder } from '../data-folder.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';

export interface StoresDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly database: Database;
  readonly box: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** What is in the database and beside it, but for objects. */
export interface StoresParts {
  readonly choices: readonly AdapterChoice[];
  readonly bus: Bus;
  readonly definitions: SqliteDefinitionStore;
  readonly ledger: RunLedger;
  readonly logs: RunLogs;
  readonly settings: Settings;
}

export function composeStores({
  config,
  folder,
  database: db,
  box,
  clock,
  log,
  metrics,
}: StoresDeps): StoresParts {
  const chosenBy = 'the only one of this version';
  return {
    choices: ['bus', 'definitions', 'ledger'].map((port) => ({ port, adapter: 'SQLite', chosenBy })),
    bus: createSqliteBus({ db, namespace: 'sluice', clock, log, metrics, random: randomBytes }),
    definitions: createSqliteDefinitionStore({ db, clock, random: randomBytes, box }),
    ledger: createSqliteRunLedger({
      db,
      clock,
      eventsFor: (run) => [runChangedMessage(run, clock.now())],
      startMessage: (run) => runStartMessage(run),
    }),
    settings: createSqliteSettings(db),
    logs: createFolderRunLogs({ root: folder.logs, clock, maxBytes: config.SLUICE_LOG_LIMIT }),
  };
}
