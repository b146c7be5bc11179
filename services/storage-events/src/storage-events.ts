import type { Bus, Subscription } from '@sluice/shared/bus';
import { AppError } from '@sluice/shared/errors';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import {
  createSoleLeases,
  type DefinitionStore,
  type Leases,
  type ObjectStore,
  type RunLedger,
} from '@sluice/shared/stores';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import { createAcceptor } from './app/accept.ts';
import { startBackfills } from './app/backfill.ts';
import { createDefinitionCache } from './app/definitions.ts';
import { createFloorBook } from './app/floors.ts';
import { createStorageEventsMetrics, type StorageEventsMetrics } from './app/metrics.ts';
import { createPrefixSync } from './app/prefix-sync.ts';
import { createReconciler, type PassReport, type Reconciler } from './app/reconciler.ts';
import type { NotificationSource } from './ports.ts';

export interface StorageEventsDeps {
  readonly source: NotificationSource;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: ObjectStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Which replica lists which path. @default this process is the only one */
  readonly leases?: Leases;
  /** @default none */
  readonly tracer?: Tracer;
  readonly config: StorageEventsConfig;
}

/** Milliseconds. */
export interface StorageEventsConfig {
  /** An object that changed less than this ago is left to the next listing. */
  readonly settleMs: number;
  readonly reconcileIntervalMs: number;
  readonly marginMs: number;
  /** Given to a backfill under way when stopping. @default 10000 */
  readonly drainMs?: number;
}

export interface StorageEvents extends Component {
  /** Lists every input path now and claims what has no claim; resolves when that pass is over. */
  reconcile(): Promise<PassReport>;
}

interface Parts {
  readonly reconciler: Reconciler;
  stop(): Promise<void>;
}

/** Notifications in, claimed runs out; finds by listing what notifications missed. Can be started once. */
export function createStorageEvents(deps: StorageEventsDeps): StorageEvents {
  const current: { parts?: Parts } = {};
  const metrics = createStorageEventsMetrics(
    deps.metrics,
    () => current.parts?.reconciler.failing().size ?? 0,
  );
  const running = (): Parts => {
    if (current.parts === undefined) throw new AppError('unavailable', 'Storage-events is not running.');
    return current.parts;
  };
  return {
    name: 'storage-events',
    start: async () => {
      current.parts = await startParts(deps, metrics);
    },
    stop: async () => {
      const { parts } = current;
      delete current.parts;
      await parts?.stop();
    },
    check: async () => {
      const failing = running().reconciler.failing();
      const [first] = failing;
      if (first !== undefined) {
        throw new AppError(
          'unavailable',
          `${failing.size} input path(s) cannot be listed; ${first[0]}: ${first[1]}`,
        );
      }
      await Promise.all([deps.bus.check(), deps.ledger.check(), deps.objects.check(), deps.source.check?.()]);
    },
    reconcile: async () => running().reconciler.fullPass(),
  };
}

async function startParts(deps: StorageEventsDeps, metrics: StorageEventsMetrics): Promise<Parts> {
  const { source, definitions, ledger, objects, bus, clock, log, config } = deps;
  const cache = createDefinitionCache({ definitions, clock, log });
  const floors = createFloorBook({ definitions, objects, clock, log });
  const acceptor = createAcceptor({
    cache,
    floors,
    ledger,
    bus,
    log,
    metrics,
    ...(deps.tracer === undefined ? {} : { tracer: deps.tracer }),
  });
  const { settleMs, marginMs, reconcileIntervalMs: intervalMs } = config;
  const offering = { objects, ledger, source, acceptor, settleMs };
  const reconciler = createReconciler({
    ...offering,
    cache,
    floors,
    clock,
    log,
    metrics,
    leases: deps.leases ?? createSoleLeases(),
    marginMs,
    intervalMs,
  });
  const prefixes = createPrefixSync({
    source,
    cache,
    clock,
    log,
    onWatched: (appeared) => {
      reconciler.request(appeared);
      // The first time only: the first pass is over everything there is.
      reconciler.start();
    },
  });
  await cache.start((uid, appeared) => {
    floors.forget(uid);
    prefixes.changed(appeared);
  });
  let backfills: Subscription | undefined;
  const stop = async (): Promise<void> => {
    // They ask the source, so they end before it does.
    await Promise.all([reconciler.stop(), backfills?.drain(config.drainMs ?? 10_000)]);
    await Promise.all([prefixes.stop(), source.stop(), cache.stop()]);
  };
  try {
    await source.start({
      onNotifications: (batch) => acceptor.notified(batch),
      onGap: (path) => {
        reconciler.request([path], true);
      },
    });
    prefixes.start();
    backfills = await startBackfills({ ...offering, bus, definitions, floors, clock, log });
  } catch (error) {
    await stop();
    throw error;
  }
  return { reconciler, stop };
}
