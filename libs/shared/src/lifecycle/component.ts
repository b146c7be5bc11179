/** What every component's factory returns. Two of them can live in one process. */
export interface Component {
  readonly name: string;
  /** Resolves when the component works. */
  start(): Promise<void>;
  /** Takes nothing new, finishes or gives back what is in hand, frees everything. Safe to call twice. */
  stop(): Promise<void>;
  /** Resolves when healthy, rejects with the reason. */
  check(): Promise<void>;
}
