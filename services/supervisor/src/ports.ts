import type { AttemptOutcome, AttemptReport } from '@sluice/shared/contracts';
import type { ContainerNeeds } from './domain/container-needs.ts';
import type { ScriptEnd } from './domain/script-end.ts';

export type { ContainerNeeds } from './domain/container-needs.ts';
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
  /** What a container for the script has to be; runners of processes do without. */
  readonly container?: ContainerNeeds;
  /** A line for the run's log about where the script runs. */
  readonly onNote?: (message: string) => void;
}

/** Has a user's script run: as a child process, or by the shim of another container. */
export interface ScriptRunner {
  /**
   * Resolves when the script has ended, all it printed was given to `onOutput`, and nothing it started is left.
   * @throws AppError `unavailable` (no process could be made, or it went out of sight), `too_large` (its environment is)
   * @throws AttemptStop where the definition or its image is what has to be mended
   */
  run(request: ScriptRequest): Promise<ScriptEnd>;
}

/** Where the log of a run goes: the part of `RunLogWriter` that the supervisor uses. */
export interface OutputSink {
  /** Resolves when more may come. */
  write(chunk: Uint8Array): Promise<void>;
}

/** The folders of one attempt. */
export interface WorkFolder {
  /** With every link resolved, so that what `/proc` says of open files can be compared with it. */
  readonly root: string;
  readonly input: string;
  readonly output: string;
}

/** Has a folder for each of several attempts. */
export interface WorkFolders {
  /** An empty one. @throws the system's error (`ENOSPC`, `EACCES`) */
  take(): Promise<WorkFolder>;
  /** The attempt needs it no more. Must not reject. */
  giveBack(folder: WorkFolder): void;
}

export type AttemptProgress = Pick<Extract<AttemptReport, { kind: 'progress' }>, 'phase' | 'message'>;

/** What one attempt is given beside its plan. */
export interface AttemptContext {
  /**
   * Folder of this attempt alone, made and removed by `perform`, or who has one for it. Its parent's path must not be the script's
   * to change.
   */
  readonly workDir: string | WorkFolders;
  readonly output: OutputSink;
  /** Says how far the attempt is. A rejection is noted and changes nothing: progress is a hint. */
  readonly report: (progress: AttemptProgress) => void | Promise<void>;
  /** Aborted: the attempt is ended, and its outcome is `cancelled` unless it was done. */
  readonly signal: AbortSignal;
  /** What the script printed, without the supervisor's lines; for synchronous answers. */
  readonly onScriptOutput?: (chunk: Uint8Array) => void;
  /** Makes the attempt a synchronous call. */
  readonly call?: CallContext;
}

/** What a synchronous call has and a run has not. */
export interface CallContext {
  /** The event's bytes, in place of the plan's. */
  readonly event: Uint8Array;
  /** Has the script run, in place of the supervisor's own. */
  readonly scripts: ScriptRunner;
  /** `Http_*` variables; those that do not fit are left out. */
  readonly variables: Iterable<readonly [name: string, value: string]>;
  /** Called when the outputs are uploaded, before they are removed. What it throws is what became of the attempt. */
  readonly onOutputs: (outputs: CallOutputs) => Promise<void>;
  /** Called as soon as the outcome is known; the work folder may still be there. */
  readonly onOutcome: (outcome: AttemptOutcome) => void;
}

/** What a script left in its output folder: regular files as the listing saw them, to be opened with `openOutput`. */
export interface CallOutputs {
  readonly folder: string;
  readonly files: readonly { readonly name: string; readonly path: string }[];
  /** Whether the event was none of a storage system, so that files are the answer (OSCAR §7.7). */
  readonly unknownEvent: boolean;
}
