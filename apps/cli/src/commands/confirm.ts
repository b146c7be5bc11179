import { createInterface } from 'node:readline/promises';
import { CliError, usageError } from '../cli-error.ts';
import type { LocalContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';

/**
 * Asks before something is lost; `--yes` has been answered already.
 * @throws CliError where nobody can be asked, or the answer is not yes
 */
export async function confirm(context: LocalContext, question: string, yes: boolean): Promise<void> {
  if (yes) return;
  if (!context.io.inIsTty || context.json !== undefined) {
    throw usageError(`${question} Nobody can be asked here.`, 'Say --yes to go ahead.');
  }
  const terminal = createInterface({ input: context.io.stdin, output: context.io.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal: context.signal });
    if (/^y(es)?$/i.test(answer.trim())) return;
  } catch (error) {
    context.signal.throwIfAborted();
    // Readline hears Ctrl-C itself while it asks.
    if (error instanceof Error && error.name === 'AbortError') {
      throw new CliError(exitCodes.interrupted, 'Nothing was changed.', { code: 'interrupted' });
    }
    throw error;
  } finally {
    terminal.close();
  }
  throw new CliError(exitCodes.failed, 'Nothing was changed.', { code: 'declined' });
}
