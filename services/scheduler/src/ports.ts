import type {
  AttemptOutcome,
  AttemptPlan,
  AttemptRef,
  AttemptReport,
  Run,
  RunnerPlan,
  ServiceDefinition,
  StorageGrant,
} from '@sluice/shared/contracts';

/** What an attempt needs of the machine or the cluster. */
export interface Requirements {
  /** Thousandths of a core. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** Room for one attempt, held until it is used by `start` or given back. */
export interface Reservation {
  /** Gives the room back, once; from a resolved `start` on that is the executor's to do. */
  release(): void;
}

/**
 * Something that can perform attempts. It outlives no promise: a resolved `start` means that the attempt will be reported
 * as finished, or that `attempts` no longer names it after the executor or its machine died.
 */
export interface Executor {
  /** `process`, `container`, `kubernetes`: for the time line and the first screen. */
  readonly kind: string;
  /**
   * True where `attempts` names those of all replicas (a cluster); false where only this process knows its own, so that what the ledger believes under way at a
   * start is lost for certain.
   */
  readonly shared: boolean;
  /** Undefined while there is no room; `onRoom` says when to ask again. */
  reserve(requirements: Requirements): Promise<Reservation | undefined>;
  /**
   * Hands an attempt over. Starting the same attempt twice is one attempt.
   * @param run the run whose attempt it is, for executors that keep it beside the attempt: a lost ledger is restored from there
   * @throws AppError with verdict `later` when it could not be handed over
   */
  start(plan: AttemptPlan, reservation: Reservation, run?: Run): Promise<void>;
  /** Ends an attempt; it is reported as `cancelled`. Unknown attempts are ignored. */
  cancel(ref: AttemptRef, reason: string): Promise<void>;
  /** Attempts that are under way now; for adoption after a restart and for the audit. At most the number of slots. */
  attempts(): Promise<readonly AttemptRef[]>;
  /** Runs that are kept beside their attempts (`start`), as they were when their attempts started: what an emptied ledger is restored from. */
  carriedRuns?(): AsyncIterable<Run>;
  /** Exactly one listener; a rejected promise means that the report comes again. */
  onReport(listener: (report: AttemptReport) => Promise<void>): void;
  /** A hint that there may be room again. Several may listen; they are told in the order in which they came. */
  onRoom(listener: () => void): void;
  /** What it does not do of a definition, in sentences: said at apply and on the time line. */
  ignores(definition: ServiceDefinition): readonly string[];
  /** Runs at the same time, at most. */
  readonly slots: number;
  /** Ends what is under way within the time, reported as `lost`; then reports nothing more. Where attempts are `shared`, they go on and are others' to follow. */
  stop(timeoutMs: number): Promise<void>;
}

/** Performs one attempt to its end; the supervisor in this process, or whatever stands in for it. */
export type PerformAttempt = (
  plan: AttemptPlan,
  context: {
    readonly workDir: string;
    readonly output: { write(chunk: Uint8Array): Promise<void> };
    readonly report: (progress: { phase: 'fetching' | 'running' | 'uploading'; message?: string }) => void;
    readonly signal: AbortSignal;
  },
) => Promise<AttemptOutcome>;

/**
 * Something that can keep warm runners: processes of this machine, containers, pods. A runner performs the calls of one version
 * of a service, one at a time, behind the HTTP routes of `contracts/runner.ts`.
 */
export interface RunnerHost {
  /** `process`, `container`, `kubernetes`. */
  readonly kind: string;
  /** Runners at the same time over all services, at most. */
  readonly limit: number;
  /** True where runners outlive this process and `runners` names those of all replicas (a cluster). */
  readonly shared: boolean;
  /**
   * Resolves when the runner takes calls. Starting an id twice is one runner. The reservation is the runner's until it has ended.
   * @returns the base address of its routes
   * @throws AppError with a sentence for people (`image not found`); verdict `later` where another try may do better
   */
  start(plan: RunnerPlan, reservation: Reservation): Promise<{ readonly url: string }>;
  /** Takes no new call, lets the one in hand end within the time, then ends it. Unknown ids are ignored. */
  stop(runnerId: string, drainMs: number): Promise<void>;
  /** Runners there are now, those that still start included, those on their way out not. */
  runners(): Promise<readonly FoundRunner[]>;
  /**
   * Takes over a runner that `runners` names and this process did not start; resolves when it takes calls. The reservation is the runner's from now on.
   * @throws AppError `conflict` where it takes no calls any more and wants to be stopped, `not_found`, `unavailable`
   */
  adopt(runnerId: string, reservation: Reservation): Promise<{ readonly url: string }>;
  /** Whether a call is in hand, as far as the host knows. */
  isBusy(runnerId: string): boolean;
  /**
   * Exactly one listener: a runner that ended without being stopped (its container died). `inOrder` where nothing is wrong with it and another one will do as well:
   * a call had to be killed with it.
   */
  onExit(listener: (runnerId: string, reason: string, inOrder?: boolean) => void): void;
  /**
   * Does nothing more for the runners there are: another process acts from now on. Shared ones are left as they are, others end within the time. Reservations
   * are given back, what is under way rejects, and all may be begun anew by `runners`, `start` or `adopt`.
   */
  leave(drainMs: number): Promise<void>;
  /** Ends all, and starts no more. */
  close(drainMs: number): Promise<void>;
}

/** A runner that is there, whoever started it. */
export interface FoundRunner {
  readonly runner_id: string;
  readonly service_uid: string;
  readonly service_version: number;
}

/** Makes the short-lived keys that pods of a service reach its objects with; never the scheduler's own. */
export interface StorageGrants {
  /**
   * Keys for the input and output paths of a definition, for events in the system bucket, and for `runsPrefix` and `logsPrefix` of the service. They may be those
   * of an earlier call while at least half of their time is left.
   * @throws AppError `unavailable`
   */
  grant(definition: ServiceDefinition): Promise<StorageGrant>;
}
