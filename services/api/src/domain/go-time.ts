/** Go's RFC3339Nano in UTC, which drops zeros at the end: `2026-01-02T03:04:05.6Z`. */
export function nanoTime(at: number): string {
  return new Date(at).toISOString().replace(/\.?0*Z$/, 'Z');
}

/** How Go writes a duration: `1m2.5s`, `347.805334ms`, `12.3µs`. */
export function goDuration(ms: number): string {
  const nanos = Math.max(0, Math.round(ms * 1e6));
  if (nanos === 0) return '0s';
  if (nanos < 1e3) return `${nanos}ns`;
  if (nanos < 1e6) return `${fraction(nanos, 3)}µs`;
  if (nanos < 1e9) return `${fraction(nanos, 6)}ms`;
  const minutes = Math.floor(nanos / 60e9);
  const seconds = `${fraction(nanos - minutes * 60e9, 9)}s`;
  if (minutes === 0) return seconds;
  const hours = Math.floor(minutes / 60);
  return `${hours === 0 ? '' : `${hours}h`}${minutes % 60}m${seconds}`;
}

/** `nanos` by 10^`digits`, without zeros at the end. */
function fraction(nanos: number, digits: number): string {
  const unit = 10 ** digits;
  const rest = String(nanos % unit)
    .padStart(digits, '0')
    .replace(/0+$/, '');
  return `${Math.floor(nanos / unit)}${rest === '' ? '' : `.${rest}`}`;
}
