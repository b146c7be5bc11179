import { randomBytes } from 'node:crypto';
import type { Bus, Subscription, WorkQueue } from '@sluice/shared/bus';
import { RunCancel, type Run, type SluiceOptions } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { createPeriodic, type Clock, type Component } from '@sluice/shared/lifecycle';
import type { DefinitionStore, Leases, RunLedger, RunLogs } from '@sluice/shared/stores';
import { noTracer, type Logger, type Registry, type Tracer } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';
import { cancelRun, cancelRunsOf } from './app/cancel.ts';
import { createDefinitionCache, type DefinitionCache } from './app/definitions.ts';
import { createDispatcher, type Dispatcher } from './app/dispatch.ts';
import { createSchedulerMetrics, gaugeSlots } from './app/metrics.ts';
import { reconcileAttempts } from './app/recover.ts';
import { applyRetention } from './app/retention.ts';
import { createSettler, type Settler } from './app/settle.ts';
import { createRunnerPool, type RunnerPool } from './app/runners/pool.ts';
import { createStartRun } from './app/start-run.ts';
import type { Executor, RunnerHost } from './ports.ts';

export interface SchedulerDeps {
  readonly bus: Bus;
  readonly ledger: RunLedger;
  readonly definitions: DefinitionStore;
  readonly logs: RunLogs;
  readonly executor: Executor;
  /** Keeps warm runners for synchronous calls; without one there are none. */
  readonly runners?: RunnerHost;
  /** Which of several replicas does what one is enough for. @default one process, all is its own */
  readonly leases?: Leases;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** @default none */
  readonly tracer?: Tracer;
  readonly config: SchedulerConfig;
}

export interface SchedulerConfig {
  /** Runs at the same time over all services. */
  readonly maxRuns: number;
  readonly defaultTimeoutMs: number;
  readonly recordRetentionMs: number;
  readonly marginMs: number;
  /** Milliseconds that a warm runner is kept without need. @default 60000 */
  readonly runnerIdleMs?: number;
  /** Milliseconds given to attempts and calls under way when stopping. */
  readonly drainMs: number;
  /** @default 30000 */
  readonly auditIntervalMs?: number;
  /** @default 60000 */
  readonly retentionIntervalMs?: number;
}

export interface Scheduler extends Component {
  /** Places in use and in all. */
  slots(): { used: number; limit: number };
}

/** Turns `runs.start` commands into attempts, follows them to their end and keeps the ledger true. */
export function createScheduler(deps: SchedulerDeps): Scheduler {
  const slots = Math.min(deps.config.maxRuns, deps.executor.slots);
  const parts: { current: Parts | undefined } = { current: undefined };
  return {
    name: 'scheduler',
    start: async () => {
      parts.current = await startParts(deps, slots);
    },
    stop: async () => {
      const running = parts.current;
      parts.current = undefined;
      if (running !== undefined) await stopParts(deps, running);
    },
    check: async () => {
      if (parts.current === undefined) throw new AppError('unavailable', 'The scheduler is not running.');
      await Promise.all([deps.bus.check(), deps.ledger.check()]);
    },
    slots: () => ({ used: parts.current?.dispatcher.active() ?? 0, limit: slots }),
  };
}

interface Parts {
  readonly queue: WorkQueue;
  readonly cache: DefinitionCache;
  readonly dispatcher: Dispatcher;
  readonly settler: Settler;
  readonly cancels: Subscription;
  readonly runners: RunnerPool | undefined;
  readonly background: readonly { stop(): Promise<void> }[];
}

async function startParts(deps: SchedulerDeps, slots: number): Promise<Parts> {
  const { bus, ledger, definitions, executor, clock, log, config, tracer = noTracer } = deps;
  const metrics = createSchedulerMetrics(deps.metrics);
  const runners = createPool(deps);
  const cache = createCache(deps, runners);
  await cache.start();
  const queue = await bus.workQueue({ durable: 'scheduler-start', name: 'runs.start', maxInFlight: slots });
  const link: { dispatcher?: Dispatcher } = {};
  const common = { ledger, clock, log, tracer };
  const settler = createSettler({
    ...common,
    optionsOf: (run) => optionsOf(definitions, run),
    onFinished: (run, before) => {
      metrics.ended(before, run, clock.now());
      link.dispatcher?.finished(run);
    },
  });
  const startRun = createStartRun({
    ...common,
    definitions,
    cache,
    executor,
    settler,
    metrics,
    slots,
    defaultTimeoutMs: config.defaultTimeoutMs,
  });
  const onNoRoom = (): void => runners?.makeRoom();
  const isRoomKept = (): boolean => runners?.keepsRoom() === true;
  const waits = { onNoRoom, isRoomKept };
  const dispatcher = createDispatcher({ queue, executor, cache, startRun, ...waits, clock, log, slots });
  executor.onReport((report) => settler.report(report));
  const recovery = {
    ledger,
    executor,
    settler,
    log,
    adopt: (run: Run) => {
      dispatcher.adopt(run);
    },
  };
  await reconcileAttempts(recovery, undefined);
  // Only now: what the recovery ended had no place here.
  link.dispatcher = dispatcher;
  const cancels = await bus.subscribe(
    { durable: 'scheduler-cancel', names: ['runs.cancel'], maxInFlight: 16 },
    cancelHandler(deps),
  );
  // First, so that it is told of room first: a caller waits for its answer, a run does not.
  await runners?.start();
  dispatcher.start();
  gaugeSlots(deps.metrics, { limit: slots, used: dispatcher.active });
  return {
    queue,
    cache,
    dispatcher,
    settler,
    cancels,
    runners,
    background: startBackground(deps, recovery),
  };
}

function createCache(deps: SchedulerDeps, runners: RunnerPool | undefined): DefinitionCache {
  const { ledger, executor, log } = deps;
  const onRemoved = (uid: string): void => {
    runners?.removed(uid);
    cancelRunsOf({ ledger, executor, log }, uid).catch((error: unknown) => {
      // Not lost: each of its start messages is checked against the definition when it is fetched.
      log.warn({ err: error, service_uid: uid }, 'runs of a removed service are cancelled later');
    });
  };
  return createDefinitionCache(deps.definitions, onRemoved, (stored) => runners?.put(stored));
}

function createPool(deps: SchedulerDeps): RunnerPool | undefined {
  const { runners: host, config } = deps;
  if (host === undefined) return undefined;
  return createRunnerPool({
    ...deps,
    host,
    randomId: () => randomBytes(8).toString('hex'),
    config: {
      idleMs: config.runnerIdleMs ?? 60_000,
      drainMs: config.drainMs,
      defaultTimeoutMs: config.defaultTimeoutMs,
    },
  });
}

function startBackground(
  deps: SchedulerDeps,
  recovery: Parameters<typeof reconcileAttempts>[0],
): readonly { stop(): Promise<void> }[] {
  const { clock, log, config } = deps;
  let suspects: ReadonlySet<string> = new Set();
  return [
    createPeriodic({ name: 'audit', everyMs: config.auditIntervalMs ?? 30_000, clock, log }, async () => {
      suspects = await reconcileAttempts(recovery, suspects);
    }),
    createPeriodic(
      { name: 'retention', everyMs: config.retentionIntervalMs ?? 60_000, clock, log },
      async () => {
        await applyRetention({
          ledger: deps.ledger,
          definitions: deps.definitions,
          logs: deps.logs,
          clock,
          log,
          recordsMs: config.recordRetentionMs,
          marginMs: config.marginMs,
        });
      },
    ),
  ];
}

async function stopParts(deps: SchedulerDeps, parts: Parts): Promise<void> {
  await Promise.all(parts.background.map((one) => one.stop()));
  await parts.dispatcher.stop();
  await parts.cancels.drain(deps.config.drainMs);
  await Promise.all([deps.executor.stop(deps.config.drainMs), parts.runners?.stop()]);
  await parts.settler.idle();
  await parts.queue.close();
  await parts.cache.stop();
}

function cancelHandler(deps: SchedulerDeps): Parameters<Bus['subscribe']>[1] {
  const contract = Compile(RunCancel);
  return async (delivery) => {
    const { payload } = delivery.message;
    if (!contract.Check(payload))
      throw new AppError('invalid_input', 'A cancel message is not of its contract.');
    await cancelRun(deps, payload);
  };
}

async function optionsOf(definitions: DefinitionStore, run: Run): Promise<SluiceOptions> {
  const stored = await definitions.getVersion(run.service_uid, run.service_version ?? 0);
  return stored?.definition.sluice ?? {};
}
