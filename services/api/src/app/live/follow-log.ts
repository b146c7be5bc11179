import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLogChunk } from '@sluice/shared/stores';
import { endsLine } from '../../domain/log-lines.ts';
import { beginsLine, type ReadLog } from '../read-log.ts';
import type { Bell } from './bell.ts';
import type { Following } from './follow-runs.ts';

/** Bytes of one read; a stored line that is longer comes in pieces. */
const pieceBytes = 131_072;
/** A log that grows is looked at this often, one that does not ever more seldom; what rings the bell wakes at once. */
const firstPollMs = 100;
const longestPollMs = 2000;
const newline = 0x0a;

/** A log, and whatever it is the log of. */
export interface FollowedLog<T> {
  readonly read: ReadLog;
  /** As it is now; undefined where it is gone. */
  readonly look: () => Promise<T | undefined>;
  readonly hasEnded: (subject: T) => boolean;
  /** It is looked at this often though nothing rings; at each heartbeat anyway. */
  readonly lookMs: number;
  /** Time that is left for the log to be completed when its subject has ended. */
  readonly lingerMs: number;
}

/** How what is said looks. */
export interface LogForm<T> {
  /** What comes before all else. @param offset the byte at which the first line begins */
  opening(offset: number): string;
  line(stored: Uint8Array, at: { readonly next: number; readonly beginsLine: boolean }): string;
  heartbeat(): string;
  end(subject: T): string;
}

/**
 * A log line by line while it is written, then the end with its subject's final state. A line is named by the byte of the
 * stored log at which the next one begins.
 * @param from `follow` false: what there is now, and the end where it has ended
 */
export async function* followLog<T>(
  subject: T,
  from: { readonly offset: number; readonly follow: boolean },
  deps: {
    readonly log: FollowedLog<T>;
    readonly form: LogForm<T>;
    readonly bell: Bell;
    readonly clock: Clock;
  },
  { signal, heartbeatMs }: Following,
): AsyncGenerator<string> {
  const { log, form, bell, clock } = deps;
  try {
    const opening = form.opening(from.offset);
    if (opening !== '') yield opening;
    let { offset } = from;
    let now: T | undefined = (await log.look()) ?? subject;
    let atLineStart = await beginsLine(offset, log.read);
    let pollMs = firstPollMs;
    let said = clock.monotonic();
    let looked = said;
    let endedAt: number | undefined;
    while (!signal.aborted) {
      const chunk = await log.read({ offset, limit: pieceBytes });
      const piece = chunk === undefined ? undefined : wholePiece(chunk);
      if (piece !== undefined) {
        yield linesOf(piece, offset, atLineStart, form);
        offset += piece.byteLength;
        atLineStart = endsLine(piece);
        pollMs = firstPollMs;
        said = clock.monotonic();
        // There is more already, or there will be no more.
        if (chunk?.complete === true || piece.byteLength > pieceBytes / 2) continue;
      }
      if (log.hasEnded(now)) {
        endedAt ??= clock.monotonic();
        const isWhole = piece === undefined && (chunk === undefined || chunk.complete);
        if (isWhole || !from.follow || clock.monotonic() - endedAt >= log.lingerMs) {
          yield form.end(now);
          return;
        }
      }
      if (!from.follow) return;
      const rung = await bell.wait(Math.min(pollMs, heartbeatMs), signal);
      pollMs = rung ? firstPollMs : Math.min(pollMs * 2, longestPollMs);
      const time = clock.monotonic();
      const quiet = time >= said + heartbeatMs;
      if (quiet && !signal.aborted) yield form.heartbeat();
      if (quiet) said = clock.monotonic();
      // The bell is quick, but may be missed: the subject is looked at now and then as well.
      if (!rung && !quiet && time < looked + log.lookMs) continue;
      looked = time;
      // What is gone has no log any more, either; a client that comes again is told so.
      now = await log.look();
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

function linesOf<T>(piece: Uint8Array, offset: number, atLineStart: boolean, form: LogForm<T>): string {
  const messages: string[] = [];
  for (let start = 0; start < piece.byteLength;) {
    const lineEnd = piece.indexOf(newline, start);
    const next = lineEnd < 0 ? piece.byteLength : lineEnd + 1;
    messages.push(
      form.line(piece.subarray(start, next), {
        next: offset + next,
        beginsLine: start > 0 || atLineStart,
      }),
    );
    start = next;
  }
  return messages.join('');
}
