import { randomBytes } from 'node:crypto';
import type { Bus, LiveMessage, Subscription, WorkQueue } from '@sluice/shared/bus';
import {
  finalStates,
  isFinal,
  RunCancel,
  runChangedName,
  type Run,
  type RunChanged,
  type SluiceOptions,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { createPeriodic } from '@sluice/shared/lifecycle';
import { createSoleLeases, type DefinitionStore, type Leases } from '@sluice/shared/stores';
import { noTracer } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';
import type { SchedulerDeps } from '../scheduler.ts';
import { createAttemptDesk, type AttemptDesk } from './attempt-desk.ts';
import { createAudit, type Audit } from './audit.ts';
import { cancelRun, cancelRunsOf } from './cancel.ts';
import { createDefinitionCache, type DefinitionCache } from './definitions.ts';
import { createDispatcher, type Dispatcher } from './dispatch.ts';
import { createSchedulerMetrics, gaugeSlots } from './metrics.ts';
import { createOutcomeKeeper, createOutcomes, type OutcomeKeeper, type Outcomes } from './outcomes.ts';
import { withPatience } from './patience.ts';
import { rebuildLedger } from './rebuild.ts';
import { applyRetention, sweepOutcomes } from './retention.ts';
import { createRunnerPool, type RunnerPool } from './runners/pool.ts';
import { createSettler, type Settler } from './settle.ts';
import { createStartRun } from './start-run.ts';
import { createUnderWay, type UnderWay } from './under-way.ts';
import { whenReady } from './when-ready.ts';

/** What a scheduler that runs is made of. */
export interface Parts {
  readonly queue: WorkQueue;
  readonly cache: DefinitionCache;
  readonly underWay: UnderWay;
  readonly dispatcher: Dispatcher;
  readonly settler: Settler;
  readonly keeper: OutcomeKeeper;
  readonly desk: AttemptDesk | undefined;
  readonly cancels: Subscription;
  readonly runners: RunnerPool | undefined;
  readonly background: readonly { stop(): Promise<void> }[];
  readonly stopping: AbortController;
}

/** Made before anything runs. */
interface Common {
  readonly leases: Leases;
  readonly outcomes: Outcomes | undefined;
  readonly keeper: OutcomeKeeper;
  readonly underWay: UnderWay;
}

const defaultAuditMs = 30_000;
const defaultLeaseMs = 30_000;
/** More than a start may take (`start-run`), and its message's lease. */
const defaultStartGraceMs = 120_000;

export async function startParts(deps: SchedulerDeps, slots: number): Promise<Parts> {
  const { bus, ledger, executor, clock, log, config } = deps;
  const stopping = new AbortController();
  const common = commonOf(deps);
  const runners = createPool(deps);
  const cache = createCache(deps, common, runners);
  await cache.start();
  const leaseMs = config.startLeaseMs ?? defaultLeaseMs;
  const queue = await bus.workQueue({
    durable: 'scheduler-start',
    name: 'runs.start',
    maxInFlight: slots,
    leaseMs,
  });
  const work = createWork(deps, common, { cache, queue, runners, slots, leaseMs });
  const { dispatcher, settler } = work;
  executor.onReport((report) => settler.report(report));
  const listening = await listenToRuns(deps, common, dispatcher);
  const audit = createAudit({
    ...common,
    ledger,
    executor,
    settler,
    clock,
    log,
    intervalMs: config.auditIntervalMs ?? defaultAuditMs,
    startGraceMs: config.startGraceMs ?? defaultStartGraceMs,
  });
  const rebuild = (): Promise<boolean> => rebuilt(deps, common, queue);
  const opening = await whenReady(
    { clock, log, everyMs: 1000 },
    async () => {
      if (!(await rebuild())) return false;
      await audit.first();
      return true;
    },
    async () => {
      // First, so that it is told of room first: a caller waits for its answer, a run does not.
      await runners?.start();
      dispatcher.start();
    },
  );
  const cancels = await bus.subscribe(
    // Most of a day, while the ledger is away.
    { durable: 'scheduler-cancel', names: ['runs.cancel'], maxInFlight: 16, maxAttempts: 1000 },
    cancelHandler(deps, common, stopping.signal),
  );
  gaugeSlots(deps.metrics, { limit: slots, used: common.underWay.size });
  return {
    ...work,
    queue,
    cache,
    underWay: common.underWay,
    keeper: common.keeper,
    desk: createDesk(deps, cache, settler),
    cancels,
    runners,
    stopping,
    background: [opening, listening, ...startBackground(deps, common, audit, rebuild)],
  };
}

function commonOf(deps: SchedulerDeps): Common {
  const outcomes = deps.objects === undefined ? undefined : createOutcomes(deps.objects, deps.log);
  return {
    leases: deps.leases ?? createSoleLeases(),
    outcomes,
    keeper: createOutcomeKeeper(outcomes, deps),
    underWay: createUnderWay(deps.clock, deps.config.auditIntervalMs ?? defaultAuditMs),
  };
}

function createWork(
  deps: SchedulerDeps,
  common: Common,
  parts: Pick<Parts, 'cache' | 'queue' | 'runners'> & { readonly slots: number; readonly leaseMs: number },
): Pick<Parts, 'dispatcher' | 'settler'> {
  const { ledger, definitions, executor, clock, log, config, tracer = noTracer } = deps;
  const metrics = createSchedulerMetrics(deps.metrics);
  const link: { dispatcher?: Dispatcher } = {};
  const settler = createSettler({
    ...common,
    ledger,
    clock,
    log,
    tracer,
    optionsOf: (run) => optionsOf(definitions, run),
    onFinished: (run, before, outcome) => {
      if (isFinal(run.state)) common.keeper.keep(before, outcome);
      metrics.ended(before, run, clock.now());
      common.underWay.note(run);
      link.dispatcher?.ended(run.service);
    },
  });
  const startRun = createStartRun({
    ...parts,
    ...common,
    ledger,
    clock,
    log,
    tracer,
    definitions,
    executor,
    settler,
    metrics,
    defaultTimeoutMs: config.defaultTimeoutMs,
  });
  const dispatcher = createDispatcher({
    ...parts,
    ledger,
    executor,
    startRun,
    clock,
    log,
    onNoRoom: () => parts.runners?.makeRoom(),
    isRoomKept: () => parts.runners?.keepsRoom() === true,
  });
  link.dispatcher = dispatcher;
  return { dispatcher, settler };
}

/** Other replicas end attempts as well: their places are free at once, not at the next look. */
async function listenToRuns(
  deps: SchedulerDeps,
  { underWay }: Common,
  dispatcher: Dispatcher,
): Promise<{ stop(): Promise<void> }> {
  const hear = ({ payload }: LiveMessage): void => {
    // The bus has checked it against its contract.
    const event = payload as RunChanged;
    // A run that was accepted frees nothing.
    if (event.state === 'queued' && event.attempt === 1) return;
    underWay.note({ id: event.run_id, attempt: event.attempt, state: event.state });
    dispatcher.ended(event.service);
  };
  return deps.bus.listen(['runs.queued', ...finalStates.map(runChangedName)], hear, dispatcher.wake);
}

async function rebuilt(deps: SchedulerDeps, common: Common, queue: WorkQueue): Promise<boolean> {
  const { recovery, config } = deps;
  if (recovery === undefined) return true;
  return rebuildLedger({ ...deps, ...common, recovery, queue, recordsMs: config.recordRetentionMs });
}

function createDesk(deps: SchedulerDeps, cache: DefinitionCache, settler: Settler): AttemptDesk | undefined {
  const { pods, config } = deps;
  if (pods === undefined) return undefined;
  return createAttemptDesk({ ...deps, ...pods, cache, settler, defaultTimeoutMs: config.defaultTimeoutMs });
}

function createCache(
  deps: SchedulerDeps,
  { keeper }: Common,
  runners: RunnerPool | undefined,
): DefinitionCache {
  const { ledger, executor, log } = deps;
  const onRemoved = (uid: string): void => {
    runners?.removed(uid);
    cancelRunsOf({ ledger, executor, log, keeper }, uid).catch((error: unknown) => {
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
  common: Common,
  audit: Audit,
  rebuild: () => Promise<boolean>,
): readonly { stop(): Promise<void> }[] {
  const { clock, log, config } = deps;
  const periodic = (name: string, everyMs: number, work: () => Promise<void>): { stop(): Promise<void> } =>
    createPeriodic({ name, everyMs, clock, log }, work);
  const retentionMs = config.retentionIntervalMs ?? 60_000;
  const sweepMs = config.outcomeSweepMs ?? 3_600_000;
  const retention = { ...deps, recordsMs: config.recordRetentionMs, marginMs: config.marginMs };
  const { leases, outcomes } = common;
  const jobs = [
    periodic('audit', config.auditIntervalMs ?? defaultAuditMs, audit.look),
    periodic('retention', retentionMs, async () => {
      if (await leases.hold('scheduler-retention', 3 * retentionMs)) await applyRetention(retention);
    }),
  ];
  if (outcomes !== undefined) {
    const sweep = periodic('outcome-retention', sweepMs, async () => {
      if (await leases.hold('scheduler-outcomes', 3 * sweepMs)) await sweepOutcomes(retention, outcomes);
    });
    jobs.push(sweep);
  }
  if (deps.recovery !== undefined) {
    const recovery = periodic('recovery', config.recoveryIntervalMs ?? 2000, async () => {
      await rebuild();
    });
    jobs.push(recovery);
  }
  return jobs;
}

export async function stopParts(deps: SchedulerDeps, parts: Parts): Promise<void> {
  parts.stopping.abort();
  await Promise.all(parts.background.map((one) => one.stop()));
  await parts.dispatcher.stop();
  await parts.cancels.drain(deps.config.drainMs);
  await Promise.all([deps.executor.stop(deps.config.drainMs), parts.runners?.stop()]);
  await parts.settler.idle();
  await parts.keeper.idle();
  await parts.queue.close();
  await parts.cache.stop();
}

function cancelHandler(
  deps: SchedulerDeps,
  { keeper }: Common,
  stopping: AbortSignal,
): Parameters<Bus['subscribe']>[1] {
  const contract = Compile(RunCancel);
  return async (delivery) => {
    const { payload } = delivery.message;
    if (!contract.Check(payload))
      throw new AppError('invalid_input', 'A cancel message is not of its contract.');
    await withPatience(delivery, { clock: deps.clock, stopping }, () =>
      cancelRun({ ...deps, keeper }, payload),
    );
  };
}

async function optionsOf(definitions: DefinitionStore, run: Run): Promise<SluiceOptions> {
  const stored = await definitions.getVersion(run.service_uid, run.service_version ?? 0);
  return stored?.definition.sluice ?? {};
}
