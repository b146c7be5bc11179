import type { RunnerLogEntry } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { OutputSink } from '../ports.ts';

/** The last lines of a runner's calls, in memory. */
export interface RunnerLog extends OutputSink {
  /** What was printed without a line break becomes a line. */
  endLine(): void;
  /** The last lines, oldest first. */
  tail(lines: number): readonly RunnerLogEntry[];
}

export interface RunnerLogLimits {
  readonly lines: number;
  /** Of all lines together. */
  readonly bytes: number;
  /** A longer line becomes several. */
  readonly lineBytes: number;
}

/** Keeps up to twice the limits for a moment, so that a line costs the same however many there are. */
export function createRunnerLog(clock: Pick<Clock, 'now'>, limits: RunnerLogLimits): RunnerLog {
  const entries: (RunnerLogEntry & { readonly bytes: number })[] = [];
  let kept = 0;
  let partial: Buffer = Buffer.alloc(0);

  const push = (line: Buffer): void => {
    const end = line.at(-1) === 0x0d ? line.length - 1 : line.length;
    entries.push({ at: clock.now(), message: line.toString('utf8', 0, end), bytes: line.length });
    kept += line.length;
    if (entries.length > 2 * limits.lines || kept > 2 * limits.bytes) trim();
  };
  const trim = (): void => {
    let from = Math.max(0, entries.length - limits.lines);
    let left = entries.slice(from).reduce((sum, one) => sum + one.bytes, 0);
    for (; left > limits.bytes && from < entries.length; from += 1) left -= entries[from]?.bytes ?? 0;
    entries.splice(0, from);
    kept = left;
  };
  const endLine = (): void => {
    if (partial.length > 0) push(partial);
    partial = Buffer.alloc(0);
  };
  const addPiece = (piece: Uint8Array): void => {
    for (let from = 0; from < piece.length; from += limits.lineBytes) {
      const part = piece.subarray(from, from + limits.lineBytes);
      if (partial.length + part.length > limits.lineBytes) endLine();
      // Copied: a chunk is a view of a large buffer, which would stay in memory with it.
      partial = Buffer.concat([partial, part]);
    }
  };
  return {
    write: async (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      let start = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
        if (partial.length === 0 && end - start <= limits.lineBytes) push(bytes.subarray(start, end));
        else {
          addPiece(bytes.subarray(start, end));
          endLine();
        }
        start = end + 1;
      }
      addPiece(bytes.subarray(start));
    },
    endLine,
    tail: (lines) => {
      trim();
      return lines < 1 ? [] : entries.slice(-lines).map(({ at, message }) => ({ at, message }));
    },
  };
}
