import { printable } from './text.ts';

/** Python's levels (OSCAR §2.1, `log_level`). */
const levels = { NOTSET: 0, DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 } as const;

export type LineLevel = Exclude<keyof typeof levels, 'NOTSET'>;
export type LogThreshold = keyof typeof levels;

/**
 * From which level on the supervisor's own lines are written: the variable `LOG_LEVEL` where it names a level, else the
 * definition's `log_level`, else INFO (OSCAR §7.2).
 */
export function logThreshold(definitionLevel: string, variable: string | undefined): LogThreshold {
  for (const wanted of [variable, definitionLevel]) {
    const upper = (wanted ?? '').toUpperCase();
    if (isThreshold(upper)) return upper;
  }
  return 'INFO';
}

function isThreshold(value: string): value is LogThreshold {
  return Object.hasOwn(levels, value);
}

export function isLogged(level: LineLevel, threshold: LogThreshold): boolean {
  return levels[level] >= levels[threshold];
}

/**
 * One line in the form of OSCAR's supervisor, `%(asctime)s - supervisor - LEVEL - message` (OSCAR §7.7), the time in UTC as in
 * its containers: `2026-01-02 03:04:05,678 - supervisor - INFO - …`.
 * @param at epoch milliseconds
 */
export function logLine(at: number, level: LineLevel, message: string): string {
  const time = new Date(at).toISOString().replace('T', ' ').replace('.', ',').slice(0, 23);
  return `${time} - supervisor - ${level} - ${printable(message)}\n`;
}
