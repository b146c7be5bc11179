import type { OutgoingMessage, Page } from '../bus/index.ts';
import type { Run, RunState } from '../contracts/index.ts';

/** A run that is to be accepted: the ledger adds state `queued`, attempt 1 and the first entry of the time line. */
export type NewRun = Omit<
  Run,
  'state' | 'attempt' | 'created_at' | 'timeline' | 'infra_failures' | 'script_failures'
>;

export interface ClaimResult {
  readonly id: string;
  /** False: this id had been claimed before, and nothing was changed. */
  readonly created: boolean;
}

/**
 * A conditional change of a run's state. Refused as a whole unless the run is in `from` and at `attempt`; a final state
 * is never left, even when `from` names it. The way to `queued` or `starting` drops what is left of an earlier attempt
 * (`started_at`, `exit_code`, `failure`, `outputs`, `outputs_omitted`) unless `set` has it; `succeeded` drops `failure`.
 */
export interface Transition {
  readonly id: string;
  readonly from: readonly RunState[];
  readonly attempt?: number;
  readonly to: RunState;
  /** Fields to set in the same step. `timeline` gets an entry by itself. */
  readonly set?: Partial<
    Pick<
      Run,
      | 'attempt'
      | 'service_version'
      | 'exit_code'
      | 'failure'
      | 'outputs'
      | 'outputs_omitted'
      | 'cancel_requested_at'
      | 'infra_failures'
      | 'script_failures'
    >
  >;
  /** Sentence for the time line. */
  readonly message?: string;
  /** For `to: 'starting'`: refused with `no_slot` while that many runs are starting or running. */
  readonly slots?: number;
  /** For `to: 'starting'`: refused with `no_slot` while that many runs of its service are starting or running. */
  readonly serviceSlots?: number;
  /** Messages published through the outbox, beside the state event: the next attempt's `runs.start`. */
  readonly publish?: readonly OutgoingMessage[];
}

export type TransitionResult =
  | { readonly applied: true; readonly run: Run }
  | {
      readonly applied: false;
      readonly reason: 'not_found' | 'state' | 'attempt' | 'no_slot';
      readonly run?: Run;
    };

export interface RunQuery {
  readonly service?: string;
  readonly serviceUid?: string;
  readonly states?: readonly RunState[];
  /** Input bucket and key, exact. */
  readonly input?: { readonly bucket: string; readonly key: string };
  /** 1 to 1000. */
  readonly limit: number;
  readonly cursor?: string;
  /** @default 'newest' */
  readonly order?: 'newest' | 'oldest';
}

/**
 * What a ledger offers that can lose its memory (a cache server that was emptied). Until it has been restored each of its other methods rejects with
 * `unavailable`, so that nothing is claimed twice from what it forgot.
 */
export interface LedgerRecovery {
  /** Whether it holds what it should; false for one that was never filled as well. */
  isIntact(): Promise<boolean>;
  /** Stores claims and records as they were; ids that are there are left alone. At most 1000 a call. */
  restore(runs: readonly Run[]): Promise<void>;
  /** Stores claims alone, of runs whose records are gone. At most 1000 a call. @param claims epoch milliseconds of the claim by id */
  restoreClaims(claims: readonly { readonly id: string; readonly claimedAt: number }[]): Promise<void>;
  /** Says that all is restored: the ledger works from now on. */
  markIntact(): Promise<void>;
}

export interface OutboxEntry {
  readonly seq: string;
  readonly message: OutgoingMessage;
}

/**
 * What has been accepted and where it stands. Each method is one atomic, durable step; promises may reject with
 * `AppError` `unavailable`, in which case the step may or may not have happened: repeat it, ids make that safe.
 */
export interface RunLedger {
  /** Inserts claim, run (`queued`), its `runs.start` and its `runs.queued` event; at most 1000 a call. */
  claim(runs: readonly NewRun[]): Promise<readonly ClaimResult[]>;
  /** For each id whether it is claimed; at most 1000 a call. */
  claimed(ids: readonly string[]): Promise<readonly boolean[]>;
  get(id: string): Promise<Run | undefined>;
  transition(change: Transition): Promise<TransitionResult>;
  /** Notes a wish to cancel; the run of that id as it is afterwards, undefined when there is none. */
  requestCancel(id: string, message: string): Promise<Run | undefined>;
  /** A line on the time line without a change of state; ignored for a run that is gone. */
  note(id: string, attempt: number, message: string): Promise<void>;
  list(query: RunQuery): Promise<Page<Run>>;
  /** Runs by state, of one service or of all. */
  counts(service?: string): Promise<Readonly<Record<RunState, number>>>;
  /** `<uid>/<version>` of every run that is starting or running, or waits for another attempt of its version. */
  versionsInUse(): Promise<ReadonlySet<string>>;
  /** Removes records of finished runs (claims stay); ids that are unknown or not finished are left alone. Returns those removed. */
  remove(ids: readonly string[]): Promise<readonly string[]>;
  /**
   * Retention: drops claims made before `claimsBefore` and records of runs finished before `recordsBefore` (epoch ms),
   * at most `limit` of each. A claim whose record is still there stays: an id is claimed for as long as one of the two is.
   */
  expire(query: { claimsBefore: number; recordsBefore: number; limit: number }): Promise<{
    readonly claims: number;
    readonly records: readonly { readonly id: string; readonly service: string }[];
  }>;
  /** Messages stored with claims and changes that still have to be published, oldest first. */
  readOutbox(limit: number): Promise<readonly OutboxEntry[]>;
  removeFromOutbox(seqs: readonly string[]): Promise<void>;
  /** Calls back soon after the outbox got something. A hint. */
  onOutbox(listener: () => void): () => void;
  check(): Promise<void>;
}
