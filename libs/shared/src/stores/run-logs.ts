/** Names the log of one run. */
export interface RunLogRef {
  readonly service: string;
  readonly runId: string;
}

export interface RunLogWriter {
  /** Adds bytes; resolves when more may come (back-pressure). Bytes past the limit are counted and dropped, the last ones kept for the end. */
  write(chunk: Uint8Array): Promise<void>;
  /** Completes the log of this attempt. */
  close(): Promise<{ readonly bytes: number; readonly dropped: number }>;
}

export interface RunLogChunk {
  /** Whole lines where possible. */
  readonly data: Uint8Array;
  readonly nextOffset: number;
  /** True when nothing is being written and `data` reaches the end. */
  readonly complete: boolean;
}

/**
 * What runs print. Each line is stored behind its time (`2026-01-02T03:04:05.678Z text`), so that both forms of OSCAR's log
 * route can be given. Attempts of a run share its log.
 */
export interface RunLogs {
  open(ref: RunLogRef): Promise<RunLogWriter>;
  /** Bytes from `offset` on, at most `limit`; undefined when the run has written nothing. */
  read(ref: RunLogRef, query: { offset: number; limit: number }): Promise<RunLogChunk | undefined>;
  remove(refs: readonly RunLogRef[]): Promise<void>;
}
