import { maxCheckName, maxChecks, maxCheckText, type ComponentCheck } from '../contracts/index.ts';

/** All is well. */
export function fine(name: string, message: string): ComponentCheck {
  return { name, ok: true, severity: 'warning', message };
}

/** It works, and may not for long, or not as well as it could. */
export function doubt(name: string, message: string, mend: string): ComponentCheck {
  return { name, ok: false, severity: 'warning', message, mend };
}

/** Something does not work. */
export function fault(name: string, message: string, mend: string): ComponentCheck {
  return { name, ok: false, severity: 'error', message, mend };
}

/** As many and as long as a message may hold; what is wrong comes before what is well. */
export function bounded(checks: readonly ComponentCheck[]): ComponentCheck[] {
  const kept =
    checks.length <= maxChecks
      ? checks
      : [...checks.filter(({ ok }) => !ok), ...checks.filter(({ ok }) => ok)].slice(0, maxChecks);
  return kept.map(({ name, message, mend, ...rest }) => ({
    name: cut(name, maxCheckName),
    ...rest,
    message: cut(message, maxCheckText),
    ...(mend === undefined ? {} : { mend: cut(mend, maxCheckText) }),
  }));
}

function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1).toWellFormed()}…`;
}
