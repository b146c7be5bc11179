import type { Bus } from '@sluice/shared/bus';
import type { AttemptRef } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import type {
  DefinitionStore,
  LedgerRecovery,
  Leases,
  ObjectStore,
  RunLedger,
  RunLogs,
} from '@sluice/shared/stores';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import type { AttemptDesk, DeskDeps } from './app/attempt-desk.ts';
import { startParts, stopParts, type Parts } from './app/parts.ts';
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
  /** Of a ledger that may lose its memory: it is restored before anything is started. */
  readonly recovery?: LedgerRecovery;
  /** Where supervisors in pods write how their attempts ended (the system bucket). */
  readonly objects?: ObjectStore;
  /** Where supervisors in pods ask for work at this process; without it `desk` refuses all. */
  readonly pods?: Pick<DeskDeps, 'grants' | 'limits' | 'runnerKey'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** @default none */
  readonly tracer?: Tracer;
  readonly config: SchedulerConfig;
}

export interface SchedulerConfig {
  /** Runs at the same time over all services, of all replicas together. */
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
  /** Milliseconds until a start message that a dead replica had in hand comes again. @default 30000 */
  readonly startLeaseMs?: number;
  /** Milliseconds that a start may take at any replica before its attempt can be missed. @default 120000 */
  readonly startGraceMs?: number;
  /** How often it is looked whether the ledger lost its memory. @default 2000 */
  readonly recoveryIntervalMs?: number;
  /** @default 60000 */
  readonly retentionIntervalMs?: number;
  /** @default 3600000 */
  readonly outcomeSweepMs?: number;
}

export interface Scheduler extends Component {
  /** Attempts that this process knows to be under way, and places in all. */
  slots(): { used: number; limit: number };
  /** For the routes that pods ask (`createAttemptsServer`); refuses with `unavailable` while the scheduler does not run. */
  readonly desk: AttemptDesk;
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
    slots: () => ({ used: parts.current?.underWay.size() ?? 0, limit: slots }),
    desk: deskOf(() => parts.current?.desk),
  };
}

function deskOf(current: () => AttemptDesk | undefined): AttemptDesk {
  const desk = (): AttemptDesk => {
    const found = current();
    if (found === undefined)
      throw new AppError('unavailable', 'The scheduler does not take requests of pods now.');
    return found;
  };
  return {
    claim: async (ref: AttemptRef, pod) => desk().claim(ref, pod),
    report: async (report) => desk().report(report),
    renew: async (ref) => desk().renew(ref),
    claimRunner: async (runnerId, claim) => desk().claimRunner(runnerId, claim),
    renewRunner: async (claim) => desk().renewRunner(claim),
  };
}
