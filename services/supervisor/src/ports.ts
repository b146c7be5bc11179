import type { AttemptReport } from '@sluice/shared/contracts';
import type { ScriptEnd } from './domain/script-end.ts';

export type { ScriptEnd } from './domain/script-end.ts';

export interface ScriptRequest {
  /** Absolute; run as `/bin/sh <path>`, whatever its first line and its mode (OSCAR §7.5). */
  readonly scriptPath: string;
  readonly cwd: string;
  /** The whole environment: nothing is added to it. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds from the script's start; up to 30 days. */
  readonly timeoutMs: number;
  /** Aborted: the script is ended. */
  readonly signal: AbortSignal;
  /** Called once, as soon as the script's process exists; not at all when it never did. */
  readonly onStarted: () => void;
  /**
   * What the script prints, both streams in the order it wrote them. The next chunk comes when the promise is resolved, and the
   * script waits meanwhile. Must not reject.
   */
  readonly onOutput: (chunk: Uint8Array) => Promise<void>;
}

/** Has a user's script run: as a child process, or by the shim of another container. */
export interface ScriptRunner {
  /**
   * Resolves when the script has ended, all it printed was given to `onOutput`, and nothing it started is left.
   * @throws AppError `unavailable` (no process could be made), `too_large` (its environment is)
   */
  run(request: ScriptRequest): Promise<ScriptEnd>;
}

/** Where the log of a run goes: the part of `RunLogWriter` that the supervisor uses. */
export interface OutputSink {
  /** Resolves when more may come. */
  write(chunk: Uint8Array): Promise<void>;
}

export type AttemptProgress = Pick<Extract<AttemptReport, { kind: 'progress' }>, 'phase' | 'message'>;

/** What one attempt is given beside its plan. */
export interface AttemptContext {
  /** Folder of this attempt alone; made and removed by `perform`. Its parent's path must not be the script's to change. */
  readonly workDir: string;
  readonly output: OutputSink;
  /** Says how far the attempt is. A rejection is noted and changes nothing: progress is a hint. */
  readonly report: (progress: AttemptProgress) => void | Promise<void>;
  /** Aborted: the attempt is ended, and its outcome is `cancelled` unless it was done. */
  readonly signal: AbortSignal;
  /** What the script printed, without the supervisor's lines; for synchronous answers. */
  readonly onScriptOutput?: (chunk: Uint8Array) => void;
}
