import type { ComponentCheck } from '../contracts/index.ts';
import { doubt, fault, fine } from './check.ts';

/** The `Date` of an answer, and when it was asked for and came, by our own clock. */
export interface ClockReading {
  readonly date: string | undefined;
  /** Epoch milliseconds. */
  readonly asked: number;
  readonly answered: number;
}

const doubtMs = 5000;
/** Signatures are refused from 15 minutes on. */
const faultMs = 5 * 60_000;

/** Whether a server's clock and ours are the same; nothing where it does not say. */
export function clockChecks(name: string, server: string, reading: ClockReading): readonly ComponentCheck[] {
  const skew = skewOf(reading);
  if (skew === undefined) return [];
  const seconds = Math.round(Math.abs(skew) / 1000);
  if (Math.abs(skew) <= doubtMs) return [fine(name, `The clocks here and of ${server} are the same.`)];
  const message = `The clock of ${server} is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} the one here.`;
  const mend =
    'Set the clocks of both machines by a time server (NTP): signatures are refused once they differ by 15 minutes.';
  return [Math.abs(skew) > faultMs ? fault(name, message, mend) : doubt(name, message, mend)];
}

/** Milliseconds that the server is ahead at least. The header is in whole seconds, and of some moment between question and answer. */
export function skewOf({ date, asked, answered }: ClockReading): number | undefined {
  const at = Date.parse(date ?? '');
  if (Number.isNaN(at)) return undefined;
  if (at > answered) return at - answered;
  return Math.min(0, at + 1000 - asked);
}
