import { randomBytes } from 'node:crypto';
import { parseTraceParent } from '@opentelemetry/core';

/** A new W3C trace context, sampled (Trace Context §3.2). */
export function newTraceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

/** The next span of the same trace; a new trace where the parent is missing or malformed. */
export function childTraceparent(parent: string | undefined): string {
  const context = parent === undefined ? null : parseTraceParent(parent);
  if (context === null) return newTraceparent();
  const flags = context.traceFlags.toString(16).padStart(2, '0');
  return `00-${context.traceId}-${randomBytes(8).toString('hex')}-${flags}`;
}

/** The trace id of a context, for logs. */
export function traceIdOf(traceparent: string): string {
  return traceparent.split('-')[1] ?? '';
}
