import { isFinal, type Run } from '@sluice/shared/contracts';
import type { RunLogChunk, RunLogRef, RunLogs } from '@sluice/shared/stores';
import { endsLine, withoutTimes } from '../domain/log-lines.ts';

/** Bytes of one piece, at most. */
export const maxPiece = 1_048_576;

export interface LogPiece {
  readonly data: Uint8Array;
  readonly nextOffset: number;
  /** The run has ended and this reaches the end of its log. */
  readonly complete: boolean;
}

/** Reads bytes of one log. */
export type ReadLog = (query: { offset: number; limit: number }) => Promise<RunLogChunk | undefined>;

/** A piece of a run's log from a byte of the stored log on, with or without the lines' times. */
export async function readPiece(
  run: Run,
  query: { readonly offset: number; readonly limit: number; readonly timestamps: boolean },
  logs: Pick<RunLogs, 'read'>,
): Promise<LogPiece> {
  const read: ReadLog = (piece) => logs.read({ service: run.service, runId: run.id }, piece);
  const { offset, limit, timestamps } = query;
  const chunk = await read({ offset, limit });
  if (chunk === undefined)
    return { data: new Uint8Array(0), nextOffset: offset, complete: isFinal(run.state) };
  return {
    data: timestamps ? chunk.data : withoutTimes(chunk.data, await beginsLine(offset, read)),
    nextOffset: chunk.nextOffset,
    complete: chunk.complete && isFinal(run.state),
  };
}

/** Whether a line begins at a byte of a stored log. */
export async function beginsLine(offset: number, read: ReadLog): Promise<boolean> {
  if (offset === 0) return true;
  const before = await read({ offset: offset - 1, limit: 1 });
  return before === undefined || before.data.byteLength === 0 || endsLine(before.data);
}

/**
 * All that a run has written up to now, piece by piece.
 * @returns undefined where nothing has been written
 */
export async function wholeLog(
  run: Run,
  timestamps: boolean,
  logs: Pick<RunLogs, 'read'>,
): Promise<AsyncGenerator<Uint8Array> | undefined> {
  const ref = { service: run.service, runId: run.id };
  const first = await logs.read(ref, { offset: 0, limit: maxPiece });
  return first === undefined ? undefined : pieces(ref, first, timestamps, logs);
}

type Chunk = NonNullable<Awaited<ReturnType<RunLogs['read']>>>;

async function* pieces(
  ref: RunLogRef,
  first: Chunk,
  timestamps: boolean,
  logs: Pick<RunLogs, 'read'>,
): AsyncGenerator<Uint8Array> {
  let atLineStart = true;
  let chunk: Chunk | undefined = first;
  // An empty piece is the end of what there is now: the log of a run under way is not followed here.
  while (chunk !== undefined && chunk.data.byteLength > 0) {
    yield timestamps ? chunk.data : withoutTimes(chunk.data, atLineStart);
    atLineStart = endsLine(chunk.data);
    if (chunk.complete) return;
    chunk = await logs.read(ref, { offset: chunk.nextOffset, limit: maxPiece });
  }
}
