import type {
  AttemptOutcome,
  AttemptPlan,
  AttemptRef,
  AttemptReport,
  ServiceDefinition,
} from '@sluice/shared/contracts';

/** What an attempt needs of the machine or the cluster. */
export interface Requirements {
  /** Thousandths of a core. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** Room for one attempt, held until it is used by `start` or given back. */
export interface Reservation {
  /** Gives the room back; harmless after `start` took it over. */
  release(): void;
}

/**
 * Something that can perform attempts. It outlives no promise: a resolved `start` means that the attempt will be reported
 * as finished, or that `attempts` no longer names it after the executor or its machine died.
 */
export interface Executor {
  /** `process`, `container`, `kubernetes`: for the time line and the first screen. */
  readonly kind: string;
  /** Undefined while there is no room; `onRoom` says when to ask again. */
  reserve(requirements: Requirements): Promise<Reservation | undefined>;
  /**
   * Hands an attempt over. Starting the same attempt twice is one attempt.
   * @throws AppError with verdict `later` when it could not be handed over
   */
  start(plan: AttemptPlan, reservation: Reservation): Promise<void>;
  /** Ends an attempt; it is reported as `cancelled`. Unknown attempts are ignored. */
  cancel(ref: AttemptRef, reason: string): Promise<void>;
  /** Attempts that are under way now; for adoption after a restart and for the audit. At most the number of slots. */
  attempts(): Promise<readonly AttemptRef[]>;
  /** Exactly one listener; a rejected promise means that the report comes again. */
  onReport(listener: (report: AttemptReport) => Promise<void>): void;
  /** A hint that there may be room again. */
  onRoom(listener: () => void): void;
  /** What it does not do of a definition, in sentences: said at apply and on the time line. */
  ignores(definition: ServiceDefinition): readonly string[];
  /** Runs at the same time, at most. */
  readonly slots: number;
  /** Ends what is under way within the time, reported as `lost`; then reports nothing more. */
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
