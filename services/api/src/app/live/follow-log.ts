import { isFinal, type Run } from '@sluice/shared/contracts';
import type { RunLogChunk, RunLogs } from '@sluice/shared/stores';
import { endsLine, withoutTimes } from '../../domain/log-lines.ts';
import { encodeServerEvent } from '../../domain/server-event.ts';
import { beginsLine } from '../read-log.ts';
import { end, heartbeat, type FollowDeps, type Following } from './follow-runs.ts';

/** Bytes of one read; a stored line that is longer comes in pieces. */
const pieceBytes = 131_072;
/** A log that grows is looked at this often, one that does not ever more seldom; the run's own events wake at once. */
const firstPollMs = 100;
const longestPollMs = 2000;
const retryMs = 2000;
const newline = 0x0a;

/**
 * A run's log line by line while it is written, then `end` with the run's final state. The id of a line is the byte of the
 * stored log at which the next one begins.
 */
export async function* followLog(
  run: Run,
  from: { readonly offset: number; readonly timestamps: boolean },
  deps: FollowDeps & {
    readonly logs: Pick<RunLogs, 'read'>;
    readonly read: (id: string) => Promise<Run | undefined>;
  },
  { signal, heartbeatMs }: Following,
): AsyncGenerator<string> {
  const { feed, clock, logs } = deps;
  const ref = { service: run.service, runId: run.id };
  await feed.open();
  const bell = feed.bell(run.id);
  try {
    yield encodeServerEvent({ retry: retryMs, id: String(from.offset) });
    let { offset } = from;
    let now: Run | undefined = (await deps.read(run.id)) ?? run;
    let atLineStart = from.timestamps || (await beginsLine(ref, offset, logs));
    let pollMs = firstPollMs;
    let said = clock.monotonic();
    while (!signal.aborted) {
      const chunk = await logs.read(ref, { offset, limit: pieceBytes });
      const piece = chunk === undefined ? undefined : wholePiece(chunk);
      if (piece !== undefined) {
        yield linesOf(piece, offset, from.timestamps, atLineStart);
        offset += piece.byteLength;
        atLineStart = endsLine(piece);
        pollMs = firstPollMs;
        said = clock.monotonic();
        // There is more already, or there will be no more.
        if (chunk?.complete === true || piece.byteLength > pieceBytes / 2) continue;
      } else if (isFinal(now.state) && (chunk === undefined || chunk.complete)) {
        yield end(now);
        return;
      }
      const rung = await bell.wait(Math.min(pollMs, heartbeatMs), signal);
      pollMs = rung ? firstPollMs : Math.min(pollMs * 2, longestPollMs);
      const quiet = clock.monotonic() >= said + heartbeatMs;
      if (quiet && !signal.aborted) yield heartbeat();
      if (quiet) said = clock.monotonic();
      // Events are quick, but may be missed: the ledger is asked now and then as well.
      if (!rung && !quiet) continue;
      // A run that is gone has no log any more, either; a client that comes again is told so.
      now = await deps.read(run.id);
      if (now === undefined) return;
    }
  } finally {
    bell.stop();
  }
}

/** What may be said of a chunk now: whole lines, a full piece of a line that is too long, or the rest of a log that has ended. */
function wholePiece({ data, complete }: RunLogChunk): Uint8Array | undefined {
  if (data.byteLength === 0) return undefined;
  const lineEnd = data.lastIndexOf(newline);
  if (lineEnd >= 0 && !complete) return data.subarray(0, lineEnd + 1);
  if (complete) return data;
  return data.byteLength < pieceBytes ? undefined : data.subarray(0, wholeCharacters(data));
}

/** How many bytes there are before a character of UTF-8 that the end cuts. */
function wholeCharacters(data: Uint8Array): number {
  for (let back = 1; back <= 3 && back < data.byteLength; back += 1) {
    const byte = data[data.byteLength - back] ?? 0;
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < length ? data.byteLength - back : data.byteLength;
  }
  return data.byteLength;
}

/** One message a line. */
function linesOf(piece: Uint8Array, offset: number, timestamps: boolean, atLineStart: boolean): string {
  const messages: string[] = [];
  for (let start = 0; start < piece.byteLength;) {
    const lineEnd = piece.indexOf(newline, start);
    const next = lineEnd < 0 ? piece.byteLength : lineEnd + 1;
    const stored = piece.subarray(start, next);
    const line = timestamps ? stored : withoutTimes(stored, start > 0 || atLineStart);
    const data = Buffer.from(line)
      .toString('utf8')
      .replace(/\r?\n$/, '');
    messages.push(encodeServerEvent({ id: String(offset + next), data }));
    start = next;
  }
  return messages.join('');
}
