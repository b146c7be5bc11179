import { constants } from 'node:os';
import { AttemptStop } from './attempt-stop.ts';

/** How a script's process ended. */
export type ScriptEnd =
  | { readonly kind: 'exited'; readonly exitCode: number }
  /** By a signal that did not come from us. */
  | { readonly kind: 'signalled'; readonly signal: string }
  /** By the kernel, since it used more than its container may. */
  | { readonly kind: 'out_of_memory'; readonly exitCode: number; readonly limit: string }
  | { readonly kind: 'timed_out' }
  | { readonly kind: 'cancelled' };

/**
 * Why the attempt does not go on after its script, in a sentence; undefined after exit code 0. Unlike in OSCAR (§7.5, §10.25) a
 * script that fails is a failed run, and nothing of it is uploaded.
 * @param lastLines what the script printed last; may be empty
 */
export function stopForScript(end: ScriptEnd, timeoutMs: number, lastLines: string): AttemptStop | undefined {
  const tail = lastLines === '' ? '' : `; its last lines:\n${lastLines}`;
  if (end.kind === 'cancelled') return new AttemptStop('cancelled', 'cancelled', { result: 'cancelled' });
  if (end.kind === 'timed_out') {
    const message = `the script ran longer than ${seconds(timeoutMs)} and was ended${tail}`;
    return new AttemptStop('timed_out', message);
  }
  if (end.kind === 'signalled') {
    const exitCode = 128 + (signalNumbers[end.signal] ?? 0);
    const reason = end.signal === 'SIGKILL' ? ' (the machine may have run out of memory)' : '';
    return new AttemptStop('script_killed', `the script was ended by ${end.signal}${reason}${tail}`, {
      exitCode,
    });
  }
  if (end.kind === 'out_of_memory') {
    const { exitCode, limit } = end;
    return new AttemptStop(
      'out_of_memory',
      `out of memory at ${limit}: the script may use what "memory" declares${tail}`,
      {
        exitCode,
      },
    );
  }
  const { exitCode } = end;
  if (exitCode === 0) return undefined;
  const message = `the script ended with exit code ${exitCode}${hint(exitCode)}${tail}`;
  return new AttemptStop('script_failed', message, { exitCode });
}

/** Numbers of the signals, for exit codes as a shell gives them (128 + number). */
const signalNumbers: Readonly<Record<string, number>> = constants.signals;

function hint(exitCode: number): string {
  switch (exitCode) {
    case 126:
      return ' (a command in it could not be run)';
    case 127:
      return ' (a command in it was not found)';
    case 137:
      return ' (a program in it was ended by SIGKILL: the machine may have run out of memory)';
    default:
      return '';
  }
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
