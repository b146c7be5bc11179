import { createHash } from 'node:crypto';

const safe = /^[A-Za-z0-9_-]{1,128}$/;

/** A subject's token for any string: itself where it is safe, else a hash of it. */
export function subjectToken(value: string): string {
  if (safe.test(value)) return value;
  return `h-${createHash('sha256').update(value).digest('hex').slice(0, 32)}`;
}
