import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { isLogged, logLine, type LineLevel, type LogThreshold } from '../domain/log-line.ts';
import { createOutputTail } from '../domain/output-tail.ts';
import type { OutputSink } from '../ports.ts';

/** Bytes of own lines that may wait. */
const pendingBytes = 16_384;
const tailLimits = { bytes: 2048, lines: 10 };

/** The log of one attempt: the script's output as it comes, the supervisor's lines between. */
export interface AttemptLog {
  /** Notes a line; it is written with the next output or flush. */
  line(level: LineLevel, message: string): void;
  /** Writes a piece of the script's output; resolves when more may come. Never rejects. */
  output(chunk: Uint8Array): Promise<void>;
  /** Writes what waits, if there is much of it. Never rejects. */
  ease(): Promise<void>;
  /** Writes what waits. Never rejects. */
  flush(): Promise<void>;
  /** What the script printed last. */
  lastLines(): string;
}

export interface AttemptLogDeps {
  readonly sink: OutputSink;
  readonly threshold: LogThreshold;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
  /** Name the attempt in the server's own log. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly onScriptOutput: ((chunk: Uint8Array) => void) | undefined;
}

/**
 * Every line of the script appears exactly once and at once, whatever the level (OSCAR §7.5 shows them twice or late). A sink that fails
 * loses lines and not the run: the log is no part of the outcome.
 */
export function createAttemptLog(deps: AttemptLogDeps): AttemptLog {
  const tail = createOutputTail(tailLimits);
  let pending = '';
  let atLineStart = true;
  let broken = false;

  const write = async (bytes: Uint8Array): Promise<void> => {
    if (broken) return;
    try {
      await deps.sink.write(bytes);
    } catch (error) {
      broken = true;
      deps.log.warn({ ...deps.fields, err: error }, 'log of a run cannot be written: the rest of it is lost');
    }
  };
  const flush = async (): Promise<void> => {
    if (pending === '') return;
    const text = pending;
    pending = '';
    await write(Buffer.from(text));
  };
  return {
    line: (level, message) => {
      if (!isLogged(level, deps.threshold)) return;
      pending += `${atLineStart ? '' : '\n'}${logLine(deps.clock.now(), level, message)}`;
      atLineStart = true;
    },
    output: async (chunk) => {
      if (chunk.length === 0) return;
      if (pending !== '') await flush();
      tail.add(chunk);
      atLineStart = chunk.at(-1) === 0x0a;
      deps.onScriptOutput?.(chunk);
      await write(chunk);
    },
    ease: async () => {
      if (pending.length > pendingBytes) await flush();
    },
    flush,
    lastLines: () => tail.text(),
  };
}
