import { randomBytes } from 'node:crypto';
import {
  createNatsBus,
  createNatsDefinitionStore,
  createNatsSettings,
  createObjectRunLogs,
  createRedisLeases,
  createRedisRunLedger,
  createS3ObjectStore,
  createSecretBox,
  natsSettings,
  openNats,
  openRedis,
  s3Settings,
  type MasterKey,
  type Nats,
  type NatsDefinitionStore,
  type RedisConnection,
  type RedisConnectionOptions,
  type S3ObjectStore,
  type S3Settings,
} from '@sluice/shared/adapters';
import { createOutboxRelay, type Bus } from '@sluice/shared/bus';
import { Secret } from '@sluice/shared/config';
import { runChangedMessage, runStartMessage } from '@sluice/shared/contracts';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Component } from '@sluice/shared/lifecycle';
import type { Leases, LedgerRecovery, RunLedger, RunLogs, Settings } from '@sluice/shared/stores';
import type { ProcessDeps } from './start.ts';
import type { ProcessConfig } from './variables.ts';

export interface NeighbourOptions {
  /** The component, as the servers list it. */
  readonly name: string;
  /** For components that read or write secrets of services. */
  readonly secretKeys?: readonly [MasterKey, ...MasterKey[]];
  /** Subject that the S3 server publishes to, for the component that reads it. */
  readonly notifySubject?: string;
}

/** The servers that every component works with, behind the ports. */
export interface Neighbours {
  readonly nats: Nats;
  readonly bus: Bus;
  readonly definitions: NatsDefinitionStore;
  readonly settings: Settings;
  readonly redis: RedisConnection;
  readonly ledger: RunLedger & LedgerRecovery;
  readonly leases: Leases;
  readonly objects: S3ObjectStore;
  readonly s3: S3Settings;
  readonly logs: RunLogs;
  /** Publishes what a process left in the outbox that died before it could. */
  readonly relay: Component;
  close(): Promise<void>;
}

/**
 * Connects to NATS, Redis and S3, waiting as long as the process may for servers that are not there yet.
 * @throws AppError with what cannot be used and which variables name it
 */
export async function openNeighbours(
  config: ProcessConfig,
  deps: ProcessDeps,
  options: NeighbourOptions,
): Promise<Neighbours> {
  const { clock, log } = deps;
  const opened: (() => Promise<void>)[] = [];
  try {
    const nats = await openNats({
      ...natsSettings(config),
      name: `sluice-${options.name}`,
      waitMs: config.SLUICE_START_WAIT * 1000,
      clock,
      log,
    });
    opened.push(() => nats.close());
    const stored = await openStores(config, deps, nats, options);
    opened.push(() => stored.close());
    const ledger = await openLedger(config, deps, stored.bus, options);
    opened.push(() => ledger.close());
    const s3 = await openObjects(config, deps);
    opened.push(() => s3.objects.close());
    return {
      nats,
      ...stored,
      ...ledger,
      ...s3,
      logs: createObjectRunLogs({ objects: s3.objects, clock }),
      relay: createOutboxRelay({ ledger: ledger.ledger, bus: stored.bus, clock, log }),
      close: () => closeAll(opened),
    };
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function closeAll(opened: readonly (() => Promise<void>)[]): Promise<void> {
  for (const close of opened.toReversed()) await close();
}

function absent(text: string): string | undefined {
  return text === '' ? undefined : text;
}

async function openStores(
  config: ProcessConfig,
  { clock, log }: ProcessDeps,
  nats: Nats,
  { secretKeys, notifySubject }: NeighbourOptions,
): Promise<Pick<Neighbours, 'bus' | 'definitions' | 'settings' | 'close'>> {
  const namespace = config.SLUICE_NAMESPACE;
  const kv = { nats, namespace, replicas: config.NATS_REPLICAS };
  const bus = await createNatsBus({
    ...kv,
    ...(notifySubject === undefined ? {} : { notifySubject }),
    clock,
    log,
    random: randomBytes,
    limits: { streamBytes: config.NATS_STREAM_BYTES },
  });
  const definitions = await createNatsDefinitionStore({
    ...kv,
    clock,
    log,
    random: randomBytes,
    ...(secretKeys === undefined ? {} : { box: createSecretBox({ keys: secretKeys, random: randomBytes }) }),
  });
  const settings = await createNatsSettings(kv);
  return {
    bus,
    definitions,
    settings,
    close: async () => {
      await definitions.close();
      await bus.close();
    },
  };
}

/** @param name what Redis lists the connection as, behind `sluice-` */
export function redisOptions(
  config: ProcessConfig,
  { clock, log }: Pick<ProcessDeps, 'clock' | 'log'>,
  name: string,
): RedisConnectionOptions {
  return {
    // `readComponentVariables` has refused to go on without.
    url: config.REDIS_URL ?? new Secret(''),
    ca: absent(config.REDIS_CA),
    namespace: config.SLUICE_NAMESPACE,
    name: `sluice-${name}`,
    clock,
    log,
  };
}

async function openLedger(
  config: ProcessConfig,
  { clock, log }: ProcessDeps,
  bus: Bus,
  { name }: NeighbourOptions,
): Promise<Pick<Neighbours, 'redis' | 'ledger' | 'leases' | 'close'>> {
  const redis = await openRedis(redisOptions(config, { clock, log }, name));
  try {
    await waitFor(config, { clock, log }, 'REDIS_URL', () => redis.check());
  } catch (error) {
    await redis.close();
    throw error;
  }
  return {
    redis,
    ledger: createRedisRunLedger({
      redis,
      clock,
      log,
      eventsFor: (run) => [runChangedMessage(run, clock.now())],
      startMessage: (run) => runStartMessage(run),
      publish: (messages) => bus.publish(messages),
      carryRun: true,
    }),
    leases: createRedisLeases({ redis, log }),
    close: () => redis.close(),
  };
}

async function openObjects(
  config: ProcessConfig,
  { clock, log }: ProcessDeps,
): Promise<Pick<Neighbours, 'objects' | 's3'>> {
  const s3 = s3Settings(config);
  if (s3 === undefined)
    throw new AppError('invalid_input', 'MINIO_ENDPOINT and MINIO_SECRET_KEY are needed.');
  const objects = await createS3ObjectStore({ ...s3, clock });
  try {
    await waitFor(config, { clock, log }, 'MINIO_ENDPOINT', () => objects.check());
  } catch (error) {
    await objects.close();
    throw error;
  }
  return { objects, s3 };
}

const retryMs = 500;

/** Asks a server until it can be used. What another try cannot mend (a wrong password) is not tried again. */
async function waitFor(
  config: Pick<ProcessConfig, 'SLUICE_START_WAIT'>,
  { clock, log }: Pick<ProcessDeps, 'clock' | 'log'>,
  variable: string,
  check: () => Promise<void>,
): Promise<void> {
  const deadline = clock.monotonic() + config.SLUICE_START_WAIT * 1000;
  // A clock's sleep does not keep the process alive, and at the start nothing else may.
  const alive = setInterval(() => undefined, 60_000);
  try {
    for (;;) {
      try {
        await check();
        return;
      } catch (error) {
        const final = error instanceof AppError && error.retry === 'never';
        if (final || clock.monotonic() + retryMs > deadline) {
          throw new AppError('unavailable', `The server of ${variable} cannot be used. ${messageOf(error)}`, {
            cause: error,
          });
        }
        log.info({ variable, reason: messageOf(error) }, 'server does not answer yet, trying again');
        await clock.sleep(retryMs);
      }
    }
  } finally {
    clearInterval(alive);
  }
}
