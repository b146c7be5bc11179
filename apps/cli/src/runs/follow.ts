import type { WireRun } from '../api/wire.ts';
import { usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { note } from '../say.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { stateText } from '../format/colors.ts';
import { oneLine } from '../format/text.ts';
import { failureText, objectPath } from './describe.ts';
import { lastLogLines } from './log.ts';
import { deadlineAfter, waitForRun, type Deadline } from './wait.ts';

const logLines = 20;

export function waitDeadline(context: Context): Deadline {
  return deadlineAfter(context.waitMs, context.now);
}

/** Waits for a run's end and says what came of it: its outputs on stdout, or on stderr why there are none. */
export async function followRun(context: Context, id: string): Promise<ExitCode> {
  const run = await waitForRun(
    {
      api: context.api,
      sleep: context.sleep,
      deadline: waitDeadline(context),
      onState: async ({ state }) => {
        if (context.io.errIsTty) await note(context, stateText(context.errColors, state));
      },
    },
    id,
  );
  await reportOutcome(context, run);
  return exitCodeOf(run);
}

function exitCodeOf(run: WireRun): ExitCode {
  return run.state === 'succeeded' ? exitCodes.ok : exitCodes.runFailed;
}

/** The run's document with `--json`, its `log_tail` where it failed; else its outputs, a line each. */
async function reportOutcome(context: Context, run: WireRun): Promise<void> {
  const isFailed = run.state !== 'succeeded';
  const tail = isFailed ? await lastLogLines(context, run.id, logLines) : [];
  if (context.json !== undefined) {
    await context.json.document(withTail(run, tail));
    return;
  }
  for (const output of run.outputs) await context.io.out(`${oneLine(objectPath(output))}\n`);
  if (run.outputsOmitted > 0) await note(context, `… and ${run.outputsOmitted} more`);
  if (isFailed) await context.io.err(failureBlock(context, run, tail));
}

/** A run as the server gave it, and the end of its log. */
export function withTail(run: WireRun, tail: readonly string[]): unknown {
  return tail.length === 0 || typeof run.raw !== 'object' ? run.raw : { ...run.raw, log_tail: tail };
}

/** `failed thumbnail-…: exit code 3: …` and the last lines of the log, for stderr. */
export function failureBlock(context: Context, run: WireRun, tail: readonly string[]): string {
  const log = tail.length === 0 ? '' : '; the last lines of its log:';
  const head = `${stateText(context.errColors, run.state)} ${oneLine(run.id)}: ${failureText(run)}${log}`;
  return `${[head, ...tail.map((line) => `  | ${oneLine(line)}`)].join('\n')}\n`;
}

/** @throws CliError unless the text is a whole number in the range */
export function parseCount(text: string, name: string, min: number, max: number): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= min && count <= max))
    throw usageError(`${name} must be a whole number, ${min} to ${max}; "${text}" is not`);
  return count;
}
