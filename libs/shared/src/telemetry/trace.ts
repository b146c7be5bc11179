import { randomFillSync } from 'node:crypto';

const pool = Buffer.alloc(4096);
let used = pool.length;

/** Random hex, drawn from a pool: a call to the generator for each id was 8 % of the time that accepting a call takes. */
function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}

/** A new W3C trace context, sampled (Trace Context §3.2). */
export function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`;
}

/** Trace Context §3.2, as OpenTelemetry's SDK reads it, which is loaded only where spans are sent. */
const wellFormed =
  /^\s?((?!ff)[\da-f]{2})-((?!0{32})[\da-f]{32})-(?!0{16})[\da-f]{16}-([\da-f]{2})(-.*)?\s?$/;

/** The next span of the same trace; a new trace where the parent is missing or malformed. */
export function childTraceparent(parent: string | undefined): string {
  const [, version, traceId, flags, more] = wellFormed.exec(parent ?? '') ?? [];
  if (traceId === undefined || flags === undefined) return newTraceparent();
  // Later versions may have more fields, this one has none.
  if (version === '00' && more !== undefined) return newTraceparent();
  return `00-${traceId}-${randomHex(8)}-${flags}`;
}

/** The trace id of a context, for logs. */
export function traceIdOf(traceparent: string): string {
  return traceparent.split('-')[1] ?? '';
}
