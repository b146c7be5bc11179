/**
 * The way of a collection, in order. A phase is stored before what it names is done: whoever finds a phase knows that this, and all before it, may
 * have happened, and nothing after it.
 */
export const collectionPhases = [
  /** The queue of builds is paused. */
  'pausing',
  /** Builds under way end. */
  'draining',
  /** The registry becomes read-only. */
  'locking',
  'collecting',
  /** The registry is restarted writable. */
  'unlocking',
  /** Builds begin again. */
  'resuming',
] as const;
export type CollectionPhase = (typeof collectionPhases)[number];

export function isCollectionPhase(text: string): text is CollectionPhase {
  return (collectionPhases as readonly string[]).includes(text);
}

/** What brings everything back to work from any phase, in order; each step may be repeated. */
export function phasesToUndo(phase: CollectionPhase): readonly ('unlocking' | 'resuming')[] {
  const mayBeReadOnly = phase === 'locking' || phase === 'collecting' || phase === 'unlocking';
  return mayBeReadOnly ? ['unlocking', 'resuming'] : ['resuming'];
}

/** Milliseconds that the parts of a collection may take. */
export interface CollectionLimits {
  /** Waiting for builds under way. */
  readonly drainMs: number;
  /** One change between writable and read-only, the registry's restart included. */
  readonly switchMs: number;
  readonly collectMs: number;
}

/** From its beginning to the moment at which a collection counts as stuck. Some room is left for undoing what failed. */
export function wholeCollectionMs({ drainMs, switchMs, collectMs }: CollectionLimits): number {
  return drainMs + collectMs + 3 * switchMs + 60_000;
}
