import { randomBytes } from 'node:crypto';
import {
  createFolderRunLogs,
  createNatsBus,
  createNatsDefinitionStore,
  createNatsSettings,
  createRedisRunLedger,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteRunLedger,
  createSqliteSettings,
  natsSettings,
  openNats,
  openRedis,
  type Database,
  type SecretBox,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import type { Secret } from '@sluice/shared/config';
import { runChangedMessage, runStartMessage } from '@sluice/shared/contracts';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, LedgerRecovery, RunLedger, RunLogs, Settings } from '@sluice/shared/stores';
import type { Logger, Registry } from '@sluice/shared/telemetry';
import type { DataFolder } from '../data-folder.ts';
import type { StandaloneConfig } from '../variables.ts';
import type { AdapterChoice } from './choice.ts';

/** A server that is started together with this one may need a moment. */
const startWaitMs = 10_000;

export interface StoresDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly database: Database;
  readonly box: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** What is in the database and beside it, or on the servers that variables name, but for objects. */
export interface StoresParts {
  readonly choices: readonly AdapterChoice[];
  readonly bus: Bus;
  readonly definitions: DefinitionStore & { reencrypt(): Promise<number> };
  readonly ledger: RunLedger;
  /** Of a ledger that may lose its memory. */
  readonly recovery: LedgerRecovery | undefined;
  readonly logs: RunLogs;
  readonly settings: Settings;
  close(): Promise<void>;
}

/** @throws AppError when a server that a variable names cannot be used */
export async function composeStores(deps: StoresDeps): Promise<StoresParts> {
  const { config, folder, clock } = deps;
  const messages = config.NATS_URL === '' ? embeddedStores(deps) : await natsStores(deps);
  try {
    const { REDIS_URL: redisUrl } = config;
    const ledger =
      redisUrl === undefined ? embeddedLedger(deps) : await redisLedger(deps, redisUrl, messages.bus);
    return {
      ...messages,
      ...ledger,
      choices: [...messages.choices, ...ledger.choices],
      logs: createFolderRunLogs({ root: folder.logs, clock, maxBytes: config.SLUICE_LOG_LIMIT }),
      close: async () => {
        await ledger.close();
        await messages.close();
      },
    };
  } catch (error) {
    await messages.close();
    throw error;
  }
}

type MessageStores = Pick<StoresParts, 'choices' | 'bus' | 'definitions' | 'settings' | 'close'>;
type LedgerParts = Pick<StoresParts, 'choices' | 'ledger' | 'recovery' | 'close'>;

function embeddedStores({ database: db, box, clock, log, metrics }: StoresDeps): MessageStores {
  const bus = createSqliteBus({ db, namespace: 'sluice', clock, log, metrics, random: randomBytes });
  const chosenBy = 'NATS_URL is not set';
  return {
    choices: ['bus', 'definitions'].map((port) => ({ port, adapter: 'SQLite', chosenBy })),
    bus,
    definitions: createSqliteDefinitionStore({ db, clock, random: randomBytes, box }),
    settings: createSqliteSettings(db),
    close: () => bus.close(),
  };
}

async function natsStores({ config, box, clock, log }: StoresDeps): Promise<MessageStores> {
  const nats = await openNats({ ...natsSettings(config), name: 'sluice', waitMs: startWaitMs, clock, log });
  const kv = { nats, namespace: config.SLUICE_NAMESPACE, replicas: config.NATS_REPLICAS };
  try {
    const limits = { streamBytes: config.NATS_STREAM_BYTES };
    const bus = await createNatsBus({ ...kv, clock, log, random: randomBytes, limits });
    const definitions = await createNatsDefinitionStore({ ...kv, clock, log, random: randomBytes, box });
    return {
      choices: ['bus', 'definitions'].map((port) => ({
        port,
        adapter: 'NATS JetStream',
        chosenBy: 'NATS_URL',
      })),
      bus,
      definitions,
      settings: await createNatsSettings(kv),
      close: async () => {
        await definitions.close();
        await bus.close();
        await nats.close();
      },
    };
  } catch (error) {
    await nats.close();
    throw error;
  }
}

function embeddedLedger({ database: db, clock }: StoresDeps): LedgerParts {
  return {
    choices: [{ port: 'ledger', adapter: 'SQLite', chosenBy: 'REDIS_URL is not set' }],
    ledger: createSqliteRunLedger({
      db,
      clock,
      eventsFor: (run) => [runChangedMessage(run, clock.now())],
      startMessage: (run) => runStartMessage(run),
    }),
    recovery: undefined,
    close: async () => {},
  };
}

async function redisLedger(
  { config, clock, log }: StoresDeps,
  url: Secret,
  bus: Pick<Bus, 'publish'>,
): Promise<LedgerParts> {
  const { REDIS_CA: ca, SLUICE_NAMESPACE: namespace } = config;
  const redis = await openRedis({
    url,
    ca: ca === '' ? undefined : ca,
    namespace,
    name: 'sluice',
    clock,
    log,
  });
  const ledger = createRedisRunLedger({
    redis,
    clock,
    log,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
    startMessage: (run) => runStartMessage(run),
    publish: (messages) => bus.publish(messages),
    carryRun: true,
  });
  try {
    await redis.check();
  } catch (error) {
    await redis.close();
    throw new AppError(
      'unavailable',
      `The Redis server at REDIS_URL (${redis.address}) cannot be used. ${messageOf(error)} Start it, or mend the variable; without it the run ledger is in the data folder.`,
      { cause: error },
    );
  }
  return {
    choices: [{ port: 'ledger', adapter: `Redis at ${redis.address}`, chosenBy: 'REDIS_URL' }],
    ledger,
    recovery: ledger,
    close: () => redis.close(),
  };
}
