import { CliError } from '../cli-error.ts';
import type { LocalContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';

export interface Question {
  /** Thrown where nobody can be asked. */
  readonly missing: CliError;
  /** What is wrong with an answer. */
  readonly problemOf?: (text: string) => string | undefined;
  readonly preset?: string;
}

/** Asks for a line of text, on a terminal only; the dialogue goes to stderr. */
export async function ask(context: LocalContext, message: string, question: Question): Promise<string> {
  requireTerminal(context, question);
  const { default: input } = await import('@inquirer/input');
  const { preset, problemOf } = question;
  const config = {
    message,
    validate: (text: string) => problemOf?.(text) ?? true,
    ...(preset === undefined ? {} : { default: preset }),
  };
  return await interruptible(context, (streams) => input(config, streams));
}

/** Asks for a secret, which is not shown. */
export async function askSecret(context: LocalContext, message: string, question: Question): Promise<string> {
  requireTerminal(context, question);
  const { default: password } = await import('@inquirer/password');
  return await interruptible(context, (streams) => password({ message, mask: false }, streams));
}

function requireTerminal(context: LocalContext, question: Question): void {
  if (!context.io.inIsTty || context.json !== undefined) throw question.missing;
}

interface Streams {
  readonly input: LocalContext['io']['stdin'];
  readonly output: LocalContext['io']['stderr'];
  readonly signal: AbortSignal;
}

async function interruptible(
  context: LocalContext,
  prompt: (streams: Streams) => Promise<string>,
): Promise<string> {
  const { io, signal } = context;
  try {
    return await prompt({ input: io.stdin, output: io.stderr, signal });
  } catch (error) {
    signal.throwIfAborted();
    // The prompt hears Ctrl-C itself while it asks.
    if (error instanceof Error && error.name === 'ExitPromptError')
      throw new CliError(exitCodes.interrupted, 'Nothing was changed.', {
        code: 'interrupted',
        cause: error,
      });
    throw error;
  }
}
