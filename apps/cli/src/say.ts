import type { LocalContext } from './context.ts';

/** A warning, on stderr: results are not mixed with it. */
export async function warn(context: LocalContext, text: string): Promise<void> {
  await context.io.err(`${context.errColors.yellow('warning:')} ${text}\n`);
}

/** What goes on, for a person who waits: nothing with `--json`. */
export async function note(context: LocalContext, text: string): Promise<void> {
  if (context.json === undefined) await context.io.err(`${text}\n`);
}
