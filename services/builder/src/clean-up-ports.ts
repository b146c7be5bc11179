import type { CollectionPhase } from './domain/collection-phases.ts';

/** What the collection of a registry's garbage did. */
export interface Collected {
  /** Manifests and blobs that went; undefined where the registry does not say. */
  readonly manifests: number | undefined;
  readonly blobs: number | undefined;
  /** Bytes of storage that are free now; undefined where nobody measures. */
  readonly freedBytes: number | undefined;
}

/**
 * Whoever runs the registry that images lie in. Every step may be repeated, and may be done by another process than the one before.
 * Rejects with AppError `unavailable` that says what failed, also when the signal is aborted; what may still run of the step then ends with `writable` at the latest.
 */
export interface RegistryKeeper {
  /** Resolves when nothing can be pushed or removed any more; pulls go on. */
  readOnly(signal: AbortSignal): Promise<void>;
  /**
   * Restarts the registry as it usually is: it must forget what it believes to have (the cache of blob descriptors), and whatever of a collection
   * runs inside it must end.
   */
  writable(signal: AbortSignal): Promise<void>;
  /** Collects what no tag leads to. The registry is read-only meanwhile. */
  collect(signal: AbortSignal): Promise<Collected>;
}

/** Asks the registry itself, whatever its keeper believes. */
export interface RegistryProbe {
  /** Whether a push would be taken now. @throws AppError `unavailable` while the registry cannot be reached */
  takesPushes(): Promise<boolean>;
}

/** How a collection ended. */
export type CollectionOutcome =
  | ({ readonly state: 'done' } & Collected)
  /** Builds under way did not end in time; nothing was touched. */
  | { readonly state: 'gave_up'; readonly why: string }
  /** A step failed; what was begun is undone. */
  | { readonly state: 'failed'; readonly phase: CollectionPhase; readonly why: string }
  /** The process that collected was lost in this phase; another one undid what it had begun. */
  | { readonly state: 'undone'; readonly phase: CollectionPhase };

/** What is told of a collection under way. Times are epoch milliseconds of the store's clock. */
export interface CollectionUnderWay {
  readonly phase: CollectionPhase;
  readonly startedAt: number;
  /** It is over by then, or counts as left behind. */
  readonly deadline: number;
}

export interface LastCollection {
  readonly at: number;
  readonly outcome: CollectionOutcome;
}

export type ClaimedCollection =
  /** It is this holder's, from the first phase on. */
  | { readonly kind: 'begun' }
  /** One whose process was lost is this holder's now: to be undone. */
  | { readonly kind: 'left'; readonly phase: CollectionPhase }
  /** Another process is at it. */
  | { readonly kind: 'busy'; readonly phase: CollectionPhase }
  /** There is none (`takeOver` only). */
  | { readonly kind: 'none' };

/** Whether a collection is still the holder's: `taken` by another process, or `gone` with the whole store. */
export type CollectionHold = 'held' | 'taken' | 'gone';

/**
 * Where the collection under way is kept: one over all processes. A holder that does not renew its hold for `leaseMs`, or goes on past the deadline,
 * loses it. Rejects with AppError `unavailable`.
 */
export interface CollectionState {
  /** Begins a collection where there is none. @param totalMs from now to the deadline */
  claim(
    holder: string,
    terms: { readonly leaseMs: number; readonly totalMs: number },
  ): Promise<ClaimedCollection>;
  /** Takes one whose process was lost, and never begins one. */
  takeOver(
    holder: string,
    terms: { readonly leaseMs: number; readonly totalMs: number },
  ): Promise<ClaimedCollection>;
  /** Stores the phase that is about to begin, and renews. */
  enter(holder: string, phase: CollectionPhase, leaseMs: number): Promise<CollectionHold>;
  renew(holder: string, leaseMs: number): Promise<CollectionHold>;
  /** Ends it, if it is the holder's. */
  finish(holder: string, outcome: CollectionOutcome): Promise<CollectionHold>;
  underWay(): Promise<CollectionUnderWay | undefined>;
  last(): Promise<LastCollection | undefined>;
}

/**
 * When images were last used: a definition referred to them, or a ticket was answered with them. Kept by whoever sees it (the desk, workers, retention).
 * Losing it makes images look unused since they were made, and no younger. Rejects with AppError `unavailable`.
 */
export interface ImageUses {
  /** @param items digests of images, `cache:<kind>` of caches; a moment that is earlier than the noted one is ignored */
  note(user: string, items: readonly string[], at: number): Promise<void>;
  /** Epoch milliseconds by item. */
  of(user: string): Promise<ReadonlyMap<string, number>>;
  /** Drops what is not there any more. */
  forget(user: string, items: readonly string[]): Promise<void>;
  /** Users of whom anything was ever noted. */
  users(): Promise<readonly string[]>;
}
