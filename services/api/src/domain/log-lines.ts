const stamp = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z ?/;
const newline = 0x0a;
/** `2026-01-02T03:04:05.678Z ` */
const stampBytes = 25;

/**
 * Takes the times off the lines of a piece of a stored log.
 * @param atLineStart whether the piece begins a line; a piece may be the middle of a very long one
 */
export function withoutTimes(piece: Uint8Array, atLineStart: boolean): Buffer {
  const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
  const parts: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(newline, start);
    const next = end < 0 ? bytes.length : end + 1;
    const skip = start > 0 || atLineStart ? timeLength(bytes.subarray(start, next)) : 0;
    parts.push(bytes.subarray(start + skip, next));
    start = next;
  }
  return Buffer.concat(parts);
}

/** A stored line, or a later piece of one, without its time. */
export function splitTime(
  line: Uint8Array,
  beginsLine: boolean,
): { readonly time: string | undefined; readonly text: Uint8Array } {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  const length = beginsLine ? timeLength(bytes) : 0;
  const time = length === 0 ? undefined : bytes.subarray(0, stampBytes - 1).toString('latin1');
  return { time, text: bytes.subarray(length) };
}

function timeLength(line: Buffer): number {
  return stamp.exec(line.subarray(0, stampBytes).toString('latin1'))?.[0].length ?? 0;
}

/** Whether a piece ends with a whole line. */
export function endsLine(piece: Uint8Array): boolean {
  return piece.at(-1) === newline;
}
