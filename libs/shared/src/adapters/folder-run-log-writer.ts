import { AppError, isAppError, systemCode } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { RunLogWriter } from '../stores/index.ts';
import {
  createLineFormat,
  createLineSplitter,
  createLogTail,
  outputBytes,
  type LogLine,
  type LogTail,
} from './folder-log-lines.ts';

const tailBytes = 65_536;

export interface FolderLogWriter extends RunLogWriter {
  /** Writes what waits; never rejects. */
  flush(): Promise<void>;
  /** Writes nothing more: the run's log is being removed. */
  discard(): Promise<void>;
}

/** Where stored lines are appended. */
export interface LogFile {
  /** @returns how many of the bytes from `from` on were kept */
  write(bytes: Uint8Array, from: number): Promise<{ readonly bytesWritten: number }>;
  close(): Promise<void>;
}

export interface RunLogWriterDeps {
  readonly clock: Clock;
  readonly maxBytes: number;
  /** Bytes that may wait in memory before they are written. */
  readonly bufferBytes: number;
  /** Opens (or makes) the file for appending; `cut`: its last line has no end. */
  readonly openFile: () => Promise<{ file: LogFile; cut: boolean }>;
  /** Called when something waits to be written. */
  readonly onPending: (writer: FolderLogWriter) => void;
}

/** Why lines are missing. */
type Gap = { readonly reason: 'limit' } | { readonly reason: 'error'; readonly error: unknown };

interface State {
  /** Lines that wait, with their stored form. */
  pending: { readonly text: string; readonly line: LogLine }[];
  pendingStored: number;
  /** Bytes of output that came. */
  output: number;
  /** Bytes of output that the file has. */
  kept: number;
  /** Stored bytes given to the file or waiting for it. */
  stored: number;
  /** From the first line that could not be kept on. */
  gap: { readonly why: Gap; readonly tail: LogTail } | undefined;
  /** Text that must come first in the next write, to end a line that was cut. */
  mend: string;
  file: LogFile | undefined;
  closed: boolean;
  discarded: boolean;
}

/**
 * Writes one attempt's output. `close` gives as `bytes` what the script printed and as `dropped` how much of that the
 * log lacks. A failing disk never rejects `write` or `close`.
 */
export function createRunLogWriter(deps: RunLogWriterDeps): FolderLogWriter {
  const state: State = {
    pending: [],
    pendingStored: 0,
    output: 0,
    kept: 0,
    stored: 0,
    gap: undefined,
    mend: '',
    file: undefined,
    closed: false,
    discarded: false,
  };
  const splitter = createLineSplitter();
  const takeAll = createTaker(state, deps.maxBytes);
  let queue = Promise.resolve();
  const flush = async (): Promise<void> => {
    queue = queue.then(async () => writePending(state, deps));
    await queue;
  };
  const writer: FolderLogWriter = {
    flush,
    write: async (chunk) => {
      if (state.closed) throw new AppError('conflict', 'The log is closed.');
      if (state.discarded) return;
      state.output += chunk.length;
      const at = deps.clock.now();
      if (state.gap === undefined) {
        takeAll(splitter.push(chunk, at));
      } else {
        // Past the limit lines are not looked at any more: a script may well print gigabytes.
        takeAll(splitter.end());
        state.gap.tail.push(chunk, at);
      }
      if (state.pendingStored >= deps.bufferBytes) await flush();
      else if (state.pendingStored > 0) deps.onPending(writer);
    },
    close: async () => {
      if (!state.closed) {
        state.closed = true;
        takeAll(splitter.end());
        queue = queue.then(async () => finish(state, deps));
      }
      await queue;
      return { bytes: state.output, dropped: state.output - state.kept };
    },
    discard: async () => {
      state.discarded = true;
      await queue;
      state.pending = [];
      state.gap = undefined;
    },
  };
  return writer;
}

/** Takes lines while they fit; the first that does not, and all behind it, go to the tail. */
function createTaker(state: State, maxBytes: number): (lines: readonly LogLine[]) => void {
  const format = createLineFormat();
  return (lines) => {
    for (const [at, line] of lines.entries()) {
      if (state.gap !== undefined) {
        pushToTail(lines.slice(at), state.gap.tail);
        return;
      }
      const text = format(line);
      if (state.stored + text.length > maxBytes) {
        state.gap = { why: { reason: 'limit' }, tail: createLogTail(tailBytes) };
        pushToTail(lines.slice(at), state.gap.tail);
        return;
      }
      state.pending.push({ text, line });
      state.pendingStored += text.length;
      state.stored += text.length;
    }
  };
}

/** Lines of one time go in one piece: there may be a great many. */
function pushToTail(lines: readonly LogLine[], tail: LogTail): void {
  let piece: string[] = [];
  for (const [at, line] of lines.entries()) {
    piece.push(line.ended ? `${line.text}\n` : line.text);
    if (lines[at + 1]?.at === line.at) continue;
    tail.push(Buffer.from(piece.join(''), 'latin1'), line.at);
    piece = [];
  }
}

async function writePending(state: State, deps: RunLogWriterDeps): Promise<void> {
  if (state.pending.length === 0 || state.discarded) return;
  const lines = state.pending;
  state.pending = [];
  state.pendingStored = 0;
  const { written, error } = await append(state, deps, lines.map((line) => line.text).join(''));
  let end = 0;
  let stored = 0;
  for (const { text, line } of lines) {
    end += text.length;
    if (end > written) break;
    state.kept += outputBytes(line);
    stored += 1;
  }
  if (error === undefined) return;
  // The run goes on without its log; the last lines are kept for its end, when there may be room again.
  const tail = createLogTail(tailBytes);
  const rest = [...lines.slice(stored), ...state.pending].map(({ line }) => line);
  state.pending = [];
  state.pendingStored = 0;
  pushToTail(rest, tail);
  state.gap = { why: { reason: 'error', error }, tail: state.gap?.tail ?? tail };
}

/** The end of an attempt: what waits, then the gap and the lines behind it. */
async function finish(state: State, deps: RunLogWriterDeps): Promise<void> {
  await writePending(state, deps);
  if (state.gap !== undefined && !state.discarded) await writeGap(state, deps, state.gap);
  const { file } = state;
  state.file = undefined;
  try {
    await file?.close();
  } catch {
    // Network file systems say here that earlier writes were lost: nothing can be vouched for.
    state.kept = 0;
  }
}

async function writeGap(state: State, deps: RunLogWriterDeps, gap: NonNullable<State['gap']>): Promise<void> {
  const { lines, bytes } = gap.tail.take();
  const left = state.output - state.kept - bytes;
  const notice = createLineFormat()({
    at: deps.clock.now(),
    text: Buffer.from(
      `[sluice] ${left} bytes of output are left out here: ${reasonText(gap.why, deps.maxBytes)}.`,
    ).toString('latin1'),
    ended: true,
  });
  const { error } = await append(state, deps, `${left > 0 ? notice : ''}${lines.join('')}`);
  // Where this fails, too, there is nowhere to say it but in what `close` returns: the bytes count as dropped.
  if (error === undefined) state.kept += bytes;
}

function reasonText(why: Gap, maxBytes: number): string {
  if (why.reason === 'limit')
    return `the log of one attempt keeps its first ${maxBytes} bytes and its last lines`;
  const code = isAppError(why.error) ? why.error.code : systemCode(why.error);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'storage_full') return 'the disk was full';
  return `the log could not be written (${code ?? 'unknown reason'})`;
}

/** Bytes of `text` that reached the file, and what kept the others from it. */
async function append(
  state: State,
  deps: RunLogWriterDeps,
  text: string,
): Promise<{ readonly written: number; readonly error?: unknown }> {
  let written = 0;
  let mended = 0;
  try {
    if (state.file === undefined) {
      const opened = await deps.openFile();
      state.file = opened.file;
      if (opened.cut) state.mend = '\n';
    }
    mended = state.mend.length;
    const bytes = Buffer.from(`${state.mend}${text}`, 'latin1');
    while (written < bytes.length) {
      const result = await state.file.write(bytes, written);
      written += result.bytesWritten;
      state.mend = bytes[written - 1] === 0x0a ? '' : '\n';
    }
    return { written: written - mended };
  } catch (error) {
    return { written: Math.max(0, written - mended), error };
  }
}
