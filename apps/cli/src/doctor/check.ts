/** `fail`: something does not work; `warn`: it may not, or not for long. */
export type Status = 'ok' | 'warn' | 'fail';

/** What was looked at, what was found, and how to mend it. */
export interface Check {
  /** Of the server's checks: the component that found it. */
  readonly component?: string;
  readonly check: string;
  readonly status: Status;
  readonly detail: string;
  readonly mend?: string;
}

export function ok(check: string, detail: string): Check {
  return { check, status: 'ok', detail };
}

export function warning(check: string, detail: string, mend: string): Check {
  return { check, status: 'warn', detail, mend };
}

export function failure(check: string, detail: string, mend: string): Check {
  return { check, status: 'fail', detail, mend };
}
