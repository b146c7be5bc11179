import type { Command } from 'commander';
import { usageError } from '../cli-error.ts';
import { bashScript } from '../completion/bash.ts';
import { fishScript } from '../completion/fish.ts';
import { commandTree } from '../completion/tree.ts';
import { zshScript } from '../completion/zsh.ts';
import type { LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };

/** The script that completes command lines in a shell, made from the commands that there are. */
export async function printCompletion(
  context: LocalContext,
  program: Command,
  shell: string,
): Promise<ExitCode> {
  const script = Object.entries(scripts).find(([name]) => name === shell)?.[1];
  if (script === undefined)
    throw usageError(`There is completion for bash, zsh and fish, not for "${shell}"`);
  await context.io.out(script(commandTree(program)));
  return exitCodes.ok;
}
