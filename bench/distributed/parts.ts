import type { Figures } from './figures.ts';

/** How much each part measures. */
export interface DistributedAmounts {
  readonly repeat: number;
  /** `/job` calls in each round. */
  readonly submits: number;
  /** Jobs made in each round. */
  readonly jobs: number;
  /** Files that land one after the other in each round, and runs that are followed to their output. */
  readonly files: number;
  /** Files that land at once. */
  readonly burst: number;
  /** Services beside the one that is measured, few and many. */
  readonly definitions: readonly [number, number];
  /** Synchronous calls in each round. */
  readonly calls: number;
}

export interface PartDeps {
  readonly amounts: DistributedAmounts;
  readonly figures: Figures;
  /** Says how far it is. */
  readonly say: (text: string) => void;
}

/** Measures one thing beside its ceiling. */
export type Part = (deps: PartDeps) => Promise<void>;
