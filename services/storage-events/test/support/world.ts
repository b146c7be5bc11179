import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createSqliteBus, createSqliteDefinitionStore, createSqliteRunLedger } from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import { runChangedMessage, runStartMessage, type BackfillStart, type Run } from '@sluice/shared/contracts';
import { systemClock, type Clock } from '@sluice/shared/lifecycle';
import {
  splitPath,
  type DefinitionStore,
  type ObjectStore,
  type RunLedger,
  type StoredDefinition,
} from '@sluice/shared/stores';
import { createMetrics, silentLogger, type Registry } from '@sluice/shared/telemetry';
import { definitionOf, eventually } from '@sluice/shared/testing';
import { createFolderWatcher } from '../../src/adapters/folder-watcher.ts';
import type { NotificationSource } from '../../src/ports.ts';
import {
  createStorageEvents,
  type StorageEvents,
  type StorageEventsConfig,
} from '../../src/storage-events.ts';
import { openFolders, type Folders } from './folders.ts';
import { settleMs } from './watched.ts';

/** What a component is started with, where a test wants something other than the real thing. */
export interface Replaced {
  readonly source?: NotificationSource;
  readonly ledger?: RunLedger;
  readonly objects?: ObjectStore;
  readonly bus?: Bus;
  readonly clock?: Clock;
  readonly config?: Partial<StorageEventsConfig>;
}

/** Real stores in a temporary folder, and the component over them. */
export interface World {
  readonly folders: Folders;
  readonly bus: Bus;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: Folders['objects'];
  /** Of the component that was started last. */
  readonly metrics: Registry;
  /** Starts a component over the stores, a second one after the first was stopped. */
  start(replaced?: Replaced): Promise<StorageEvents>;
  /** Stops the component. */
  stop(): Promise<void>;
  /** Stores a definition; its folders are made, its floors are now unless given. */
  createService(name: string, paths: readonly string[], floor?: number): Promise<StoredDefinition>;
  /** Waits until the service has so many runs; all of them. */
  runs(service: string, count: number): Promise<readonly Run[]>;
  allRuns(service: string): Promise<readonly Run[]>;
  path(...parts: readonly string[]): string;
  backfill(service: StoredDefinition, request?: Partial<BackfillStart>): Promise<void>;
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  close(): Promise<void>;
}

const log = silentLogger();

/** A source that says nothing: everything has to be found by listing. */
export const silentSource: NotificationSource = {
  start: async () => {},
  setPrefixes: async () => {},
  stop: async () => {},
};

export async function openWorld(): Promise<World> {
  const folders = await openFolders();
  const { database: db, objects } = folders;
  const bus = createSqliteBus({ db, namespace: 'test', clock: systemClock, log, random: randomBytes });
  const definitions = createSqliteDefinitionStore({ db, clock: systemClock, random: randomBytes });
  const messages = {
    startMessage: (run: Run) => runStartMessage(run),
    eventsFor: (run: Run) => [runChangedMessage(run, systemClock.now())],
  };
  const ledger = createSqliteRunLedger({ db, clock: systemClock, ...messages });
  const current: { component?: StorageEvents; metrics: Registry } = { metrics: createMetrics() };
  const stop = async (): Promise<void> => {
    const { component } = current;
    delete current.component;
    await component?.stop();
  };
  const allRuns = async (service: string): Promise<readonly Run[]> => {
    const runs: Run[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await ledger.list({ service, limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
      runs.push(...page.items);
      cursor = page.next;
      if (cursor === undefined) return runs;
    }
  };
  let backfills = 0;
  return {
    folders,
    bus,
    definitions,
    ledger,
    objects,
    stop,
    allRuns,
    get metrics() {
      return current.metrics;
    },
    start: async (replaced = {}) => {
      await stop();
      current.metrics = createMetrics();
      const clock = replaced.clock ?? systemClock;
      current.component = createStorageEvents({
        source:
          replaced.source ??
          createFolderWatcher({ bucketsRoot: folders.buckets, objects, settleMs, clock: systemClock, log }),
        ledger: replaced.ledger ?? ledger,
        objects: replaced.objects ?? objects,
        bus: replaced.bus ?? bus,
        definitions,
        clock,
        log,
        metrics: current.metrics,
        config: { settleMs, reconcileIntervalMs: 60_000, marginMs: 86_400_000, ...replaced.config },
      });
      await current.component.start();
      return current.component;
    },
    createService: async (name, paths, floor) => {
      const input = paths.map((path) => ({ storage_provider: 'minio.default', path }));
      for (const path of paths) await mkdir(join(folders.buckets, path), { recursive: true });
      const at = floor ?? (await objects.now());
      return definitions.create({
        definition: definitionOf(name, { input }),
        secrets: { token: 'a'.repeat(64), environment: {} },
        floors: paths.map((path) => ({ ...splitPath(path), at })),
      });
    },
    runs: async (service, count) => {
      await eventually(
        `${service} has ${count} runs`,
        async () => (await ledger.counts(service)).queued >= count,
        20_000,
      );
      return allRuns(service);
    },
    path: (...parts) => join(folders.buckets, ...parts),
    backfill: async (service, request = {}) => {
      backfills += 1;
      const payload: BackfillStart = {
        backfill_id: `bf-${backfills}`,
        service: service.name,
        service_uid: service.uid,
        prefix: '',
        again: false,
        ...request,
      };
      await bus.publish([
        { id: `${payload.backfill_id}.start`, name: 'backfills.start', key: service.name, payload },
      ]);
    },
    metric: async (name, labels = {}) => {
      const metric = await current.metrics.getSingleMetric(name)?.get();
      const matching = metric?.values.filter((value) =>
        Object.entries(labels).every(([label, wanted]) => value.labels[label] === wanted),
      );
      return (matching ?? []).reduce((sum, value) => sum + value.value, 0);
    },
    close: async () => {
      await stop();
      await bus.close();
      await folders.close();
    },
  };
}
