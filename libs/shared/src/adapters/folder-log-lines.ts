/** Bytes after which a line without an end is cut into pieces, so that no output can grow the memory. */
export const maxLineBytes = 65_536;

/** One line (or piece of a long one). Text is Latin-1: each character is one byte of the output, whatever its encoding. */
export interface LogLine {
  /** Epoch ms of its first byte's arrival. */
  readonly at: number;
  readonly text: string;
  /** False for a piece, and for a last line that the output did not end. */
  readonly ended: boolean;
}

/** Cuts output into lines across chunks. */
export interface LineSplitter {
  /** The lines that are complete with this chunk. */
  push(chunk: Uint8Array, at: number): LogLine[];
  /** What is left without an end, none or one; the splitter is empty afterwards. */
  end(): readonly LogLine[];
}

export function createLineSplitter(): LineSplitter {
  let rest = '';
  let restAt = 0;
  return {
    push: (chunk, at) => {
      const lines: LogLine[] = [];
      const parts = latin1(chunk).split('\n');
      const last = parts.pop() ?? '';
      for (const part of parts) {
        const begun = rest !== '';
        pushPieces(lines, rest + part, begun ? restAt : at, true);
        rest = '';
      }
      if (rest === '') restAt = at;
      rest = pushPieces(lines, rest + last, restAt, false);
      return lines;
    },
    end: () => {
      if (rest === '') return [];
      const line = { at: restAt, text: rest, ended: false };
      rest = '';
      return [line];
    },
  };
}

/** Adds a line in pieces of at most `maxLineBytes`; what is shorter and has no end is given back. */
function pushPieces(lines: LogLine[], text: string, at: number, ended: boolean): string {
  let rest = text;
  while (rest.length > maxLineBytes) {
    const cut = characterStart(rest, maxLineBytes);
    lines.push({ at, text: rest.slice(0, cut), ended: false });
    rest = rest.slice(cut);
  }
  if (!ended) return rest;
  lines.push({ at, text: rest, ended: true });
  return '';
}

/** The place at or up to 3 bytes before `cut` where a UTF-8 character starts; `cut` itself in bytes that are no UTF-8. */
function characterStart(text: string, cut: number): number {
  for (let at = cut; at > cut - 4; at -= 1) {
    if ((text.charCodeAt(at) & 0xc0) !== 0x80) return at;
  }
  return cut;
}

/** Bytes of the output that a line stands for. */
export function outputBytes(line: LogLine): number {
  return line.text.length + (line.ended ? 1 : 0);
}

/** Lines as they are stored, as Latin-1 text: `2026-01-02T03:04:05.678Z text`. Formatting a time once a millisecond is enough. */
export function createLineFormat(): (line: LogLine) => string {
  let lastAt = Number.NaN;
  let prefix = '';
  return (line) => {
    if (line.at !== lastAt) {
      lastAt = line.at;
      prefix = `${new Date(line.at).toISOString()} `;
    }
    return `${prefix}${line.text}\n`;
  };
}

/** Keeps the last bytes of an output, with their times. */
export interface LogTail {
  push(chunk: Uint8Array, at: number): void;
  /** The last lines, stored form, at most `limit` bytes (but always one line), and how many bytes of output they are. */
  take(): { readonly lines: readonly string[]; readonly bytes: number };
}

/**
 * One buffer for good: a script that prints gigabytes must not keep the collector busy with them.
 * @param limit bytes that are kept, at least
 */
export function createLogTail(limit: number): LogTail {
  const buffer = Buffer.allocUnsafeSlow(limit * 2);
  /** Where in the buffer the bytes of a time begin. */
  let marks: { readonly from: number; readonly at: number }[] = [];
  let end = 0;
  let cut = false;
  const makeRoom = (): void => {
    const start = end - limit;
    buffer.copyWithin(0, start, end);
    end = limit;
    cut = true;
    const older = marks.findLastIndex((mark) => mark.from <= start);
    marks = marks.slice(Math.max(0, older)).map(({ from, at }) => ({ from: Math.max(0, from - start), at }));
  };
  return {
    push: (chunk, at) => {
      let keep = chunk;
      if (chunk.length > limit) {
        keep = chunk.subarray(chunk.length - limit);
        marks = [];
        end = 0;
        cut = true;
      }
      if (end + keep.length > buffer.length) makeRoom();
      if (marks.at(-1)?.at !== at) marks.push({ from: end, at });
      buffer.set(keep, end);
      end += keep.length;
    },
    take: () => {
      const entries = marks.map(({ from, at }, index) => ({
        at,
        data: buffer.subarray(from, marks[index + 1]?.from ?? end),
      }));
      return lastLines(entries, cut, limit);
    },
  };
}

function lastLines(
  entries: readonly { at: number; data: Buffer }[],
  cut: boolean,
  limit: number,
): { lines: string[]; bytes: number } {
  const splitter = createLineSplitter();
  const all = entries.flatMap((entry) => splitter.push(entry.data, entry.at));
  all.push(...splitter.end());
  // The first one lacks its beginning.
  if (cut && all.length > 1) all.shift();
  const format = createLineFormat();
  const lines: string[] = [];
  let stored = 0;
  let bytes = 0;
  for (const line of all.reverse()) {
    const text = format(line);
    if (lines.length > 0 && stored + text.length > limit) break;
    lines.push(text);
    stored += text.length;
    bytes += outputBytes(line);
  }
  return { lines: lines.reverse(), bytes };
}

function latin1(chunk: Uint8Array): string {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
}

const timePrefix = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /gm;

/** A stored log without the time before each line (OSCAR §1.8, `timestamps=false`). Other bytes stay as they are. */
export function stripLogTimes(data: Uint8Array): Uint8Array {
  return Buffer.from(latin1(data).replace(timePrefix, ''), 'latin1');
}
