const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** A number of bytes: `0 B`, `1.5 KiB`, `48 MiB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes;
  let unit: string = 'B';
  for (const next of units) {
    if (value < 1023.95) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

const steps = [
  { limit: 60, per: 1, unit: 's' },
  { limit: 60 * 60, per: 60, unit: 'm' },
  { limit: 48 * 60 * 60, per: 60 * 60, unit: 'h' },
  { limit: Number.POSITIVE_INFINITY, per: 24 * 60 * 60, unit: 'd' },
] as const;

/** How long ago a time was: `now`, `12s ago`, `3h ago`; `in 5m` for one to come; `-` for none. Both in epoch milliseconds. */
export function agoText(at: number | undefined, now: number): string {
  if (at === undefined || Number.isNaN(at)) return '-';
  const seconds = Math.round(Math.abs(now - at) / 1000);
  if (seconds < 1) return 'now';
  const step = steps.find(({ limit }) => seconds < limit) ?? steps[3];
  const text = `${Math.floor(seconds / step.per)}${step.unit}`;
  return at > now ? `in ${text}` : `${text} ago`;
}

/** A length of time in milliseconds: `4ms`, `1.25s`, `2m05s`, `3h20m`, `4d 2h`. */
export function durationText(ms: number | undefined): string {
  if (ms === undefined || Number.isNaN(ms)) return '-';
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)}s`;
  const seconds = Math.round(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours}h${two(Math.floor((seconds % 3600) / 60))}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const perUnit: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `90`, `90s`, `1.5m`, `2h`, `500ms`, `1d`; a bare number is seconds. Undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) return undefined;
  const ms = Number(match[1]) * (perUnit[match[2] ?? 's'] ?? 1000);
  return Number.isSafeInteger(Math.round(ms)) ? Math.round(ms) : undefined;
}
