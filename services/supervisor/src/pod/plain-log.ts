import type { Logger } from '@sluice/shared/telemetry';

const levels = { debug: 20, info: 30, warn: 40, error: 50, fatal: 60 } as const;

/**
 * The lines of the usual logger, without its package: a pod lives for one run, and starting is what it is measured by. Nothing of what it says is a secret, since what is one is a
 * `Secret`.
 */
export function createPlainLog(write: (line: string) => void, now: () => number): Logger {
  const log =
    (level: number) =>
    (fields: unknown, message?: string): void => {
      const given = typeof fields === 'string' ? { msg: fields } : { ...(fields as object), msg: message };
      const time = new Date(now()).toISOString();
      write(`${JSON.stringify({ level, time, name: 'supervisor', ...given }, plain)}\n`);
    };
  const logger = {
    trace: () => undefined,
    ...Object.fromEntries(Object.entries(levels).map(([name, level]) => [name, log(level)])),
  };
  return logger as unknown as Logger;
}

function plain(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  return { type: value.name, message: value.message, stack: value.stack };
}
