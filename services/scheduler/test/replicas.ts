import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createFolderObjectStore,
  createFolderRunLogs,
  createPresigner,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteObjectIndex,
  createSqliteRunLedger,
  type FolderObjectStore,
  openDatabase,
} from '@sluice/shared/adapters';
import { createOutboxRelay, type Bus } from '@sluice/shared/bus';
import {
  carryingStartMessage,
  runChangedMessage,
  type Run,
  type ServiceDefinition,
} from '@sluice/shared/contracts';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { ObjectStore, RunLedger, StoredDefinition } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { createScheduler, type Executor, type Scheduler, type SchedulerDeps } from '../src/index.ts';
import { smallDefinition } from './plan.ts';

export interface Replica {
  readonly scheduler: Scheduler;
  /** As a killed process: whatever it asks is never answered any more, and it tells nobody. */
  kill(): void;
  stop(): Promise<void>;
}

/** Makes the ledger of a world, in its folder where it needs one. */
export type OpenWorld<L extends RunLedger> = (parts: {
  readonly folder: string;
  readonly eventsFor: (run: Run) => ReturnType<typeof runChangedMessage>[];
  readonly startMessage: (run: Run) => ReturnType<typeof carryingStartMessage>;
}) => Promise<{ readonly ledger: L; close(): Promise<void> }>;

/** The embedded ledger. */
export const embeddedLedger: OpenWorld<RunLedger> = async ({ folder, ...messages }) => {
  const db = openDatabase({ path: join(folder, `ledger-${randomUUID()}.db`), clock, log: silentLogger() });
  return { ledger: createSqliteRunLedger({ db, clock, ...messages }), close: () => db.close() };
};

export interface ReplicaWorld<L extends RunLedger = RunLedger> {
  readonly ledger: L;
  readonly objects: ObjectStore;
  readonly bus: SchedulerDeps['bus'];
  readonly definitions: SchedulerDeps['definitions'];
  define(more: Partial<ServiceDefinition>): Promise<StoredDefinition>;
  claim(stored: StoredDefinition, count: number): Promise<readonly string[]>;
  claimIds(stored: StoredDefinition, ids: readonly string[]): Promise<void>;
  /** A scheduler with its own process around it, as far as one process can have several. */
  replica(
    executor: Executor,
    more?: Partial<Omit<SchedulerDeps, 'config'>> & { config?: Partial<SchedulerDeps['config']> },
  ): Promise<Replica>;
  close(): Promise<void>;
}

/** Real bus, ledger, definitions and objects in a temporary folder, for several schedulers. */
export async function openReplicaWorld(): Promise<ReplicaWorld>;
export async function openReplicaWorld<L extends RunLedger>(
  open: OpenWorld<L>,
  bus?: Bus,
): Promise<ReplicaWorld<L>>;
export async function openReplicaWorld(
  open: OpenWorld<RunLedger> = embeddedLedger,
  given?: Bus,
): Promise<ReplicaWorld> {
  const root = await mkdtemp(join(tmpdir(), 'sluice-replicas-'));
  const log = silentLogger();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock, log });
  const bus = given ?? createSqliteBus({ db, namespace: 'test', clock, log, random: randomBytes });
  const { ledger, close: closeLedger } = await open({
    folder: root,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
    startMessage: (run) => carryingStartMessage(run),
  });
  const definitions = createSqliteDefinitionStore({ db, clock, random: randomBytes });
  const objects = await objectsIn(root, db);
  const relay = createOutboxRelay({ ledger, bus, clock, log });
  await relay.start();
  const replicas: Replica[] = [];
  const logs = createFolderRunLogs({ root: join(root, 'logs'), clock });
  return {
    ledger,
    bus,
    objects,
    definitions,
    define: (more) =>
      definitions.create({
        definition: smallDefinition(more),
        secrets: { token: '0'.repeat(64), environment: { SECRET: 'hush' } },
        floors: [],
      }),
    claim: async (stored, count) => {
      const ids = Array.from({ length: count }, () => `${stored.name}-${randomUUID()}`);
      await claim(ledger, stored, ids);
      return ids;
    },
    claimIds: (stored, ids) => claim(ledger, stored, ids),
    replica: async (executor, more = {}) => {
      const made = replicaOf({ bus, ledger, definitions, logs, executor, clock, log }, more);
      replicas.push(made);
      await made.scheduler.start();
      return made;
    },
    close: async () => {
      for (const replica of replicas) await replica.stop();
      await relay.stop();
      await bus.close();
      await objects.close();
      await closeLedger();
      await db.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function replicaOf(
  shared: Omit<SchedulerDeps, 'config' | 'metrics'>,
  more: Parameters<ReplicaWorld['replica']>[1] = {},
): Replica {
  const life = { dead: false };
  const scheduler = createScheduler({
    ...shared,
    ...more,
    bus: mortal(more.bus ?? shared.bus, life),
    ledger: mortal(more.ledger ?? shared.ledger, life),
    executor: mortal(shared.executor, life),
    metrics: createMetrics(),
    config: {
      maxRuns: 8,
      defaultTimeoutMs: 1000,
      recordRetentionMs: 86_400_000,
      marginMs: 86_400_000,
      drainMs: 0,
      auditIntervalMs: 100,
      startLeaseMs: 300,
      startGraceMs: 60_000,
      recoveryIntervalMs: 50,
      ...more.config,
    },
  });
  return {
    scheduler,
    kill: () => {
      life.dead = true;
    },
    stop: async () => {
      if (!life.dead) await scheduler.stop();
    },
  };
}

/** The same object, of which nothing comes back once its process is dead. */
function mortal<T extends object>(target: T, life: { readonly dead: boolean }): T {
  const never = new Promise<never>(() => undefined);
  return new Proxy(target, {
    get: (from, name) => {
      const value: unknown = Reflect.get(from, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (life.dead) return never;
        const result: unknown = Reflect.apply(
          value,
          from,
          args.map((one) => mortalCallback(one, life)),
        );
        if (result instanceof Promise) {
          return result.then(async (found: unknown) => {
            if (life.dead) await never;
            if (name === 'workQueue') return mortal(found as object, life);
            return name === 'fetch' ? (found as object[]).map((one) => mortal(one, life)) : found;
          });
        }
        return result;
      };
    },
  });
}

/** What a dead process is told it does not hear. */
function mortalCallback(value: unknown, life: { readonly dead: boolean }): unknown {
  if (typeof value !== 'function') return value;
  return (...args: unknown[]): unknown =>
    life.dead ? new Promise(() => undefined) : (Reflect.apply(value, undefined, args) as unknown);
}

function objectsIn(root: string, db: ReturnType<typeof openDatabase>): Promise<FolderObjectStore> {
  return createFolderObjectStore({
    bucketsRoot: join(root, 'buckets'),
    systemRoot: join(root, 'system'),
    tempRoot: join(root, 'tmp'),
    index: createSqliteObjectIndex(db),
    clock,
    log: silentLogger(),
    presign: createPresigner({ key: new Secret('key'), baseUrl: () => '', clock }),
  });
}

async function claim(ledger: RunLedger, stored: StoredDefinition, ids: readonly string[]): Promise<void> {
  for (let at = 0; at < ids.length; at += 500) {
    await ledger.claim(ids.slice(at, at + 500).map((id) => newRun(id, stored)));
  }
}

function newRun(id: string, stored: StoredDefinition): Parameters<RunLedger['claim']>[0][number] {
  return {
    id,
    service: stored.name,
    service_uid: stored.uid,
    source: 'job',
    event: { kind: 'inline', encoding: 'utf8', data: '{}' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    hop: 0,
  };
}
