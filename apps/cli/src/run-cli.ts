import { CommanderError } from 'commander';
import { CliError, messageOf, systemCode } from './cli-error.ts';
import type { Runtime } from './context.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { FdlError } from './fdl/problem.ts';
import { createJsonOutput, errorDocument } from './output.ts';
import { outputFailedCode } from './io.ts';
import { createProgram, type ProgramState } from './program.ts';

/** Why the signal of a `Runtime` was aborted. */
export class Interrupted extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super('interrupted');
    this.name = 'Interrupted';
    this.exitCode = exitCode;
  }
}

/**
 * Runs one command line and says what to exit with. Neither reads the environment nor ends the process.
 * @param args without the interpreter and the script
 */
export async function runCli(args: readonly string[], runtime: Runtime): Promise<ExitCode> {
  const state: ProgramState = { exitCode: exitCodes.ok, jsonBegun: false, writes: [] };
  const program = createProgram(runtime, state);
  const tell = (error: unknown): Promise<ExitCode> => report(error, args, runtime, state.jsonBegun);
  let exitCode: ExitCode;
  try {
    await program.parseAsync([...args], { from: 'user' });
    exitCode = state.exitCode;
  } catch (error) {
    // A stderr that can't be written to has nobody who could be told; the exit code says it.
    exitCode = await tell(error).catch(() => exitCodes.failed);
  }
  const failed = (await Promise.allSettled(state.writes)).find(({ status }) => status === 'rejected');
  return failed?.status === 'rejected' ? await tell(failed.reason).catch(() => exitCodes.failed) : exitCode;
}

async function report(
  error: unknown,
  args: readonly string[],
  runtime: Runtime,
  jsonBegun: boolean,
): Promise<ExitCode> {
  // What reads our output has had enough (`| head`).
  if (systemCode(error) === 'EPIPE') return exitCodes.ok;
  if (error instanceof Interrupted) return error.exitCode;
  if (error instanceof CommanderError) return await reportUsage(error, args, runtime);
  const isOutput = error instanceof CliError && error.code === outputFailedCode;
  if (args.includes('--json') && !jsonBegun && !isOutput) {
    await createJsonOutput(runtime.io.out).document({ error: errorDocument(error) });
  }
  if (error instanceof FdlError) {
    await runtime.io.err(`${error.message}\n`);
    return exitCodes.usage;
  }
  if (error instanceof CliError) {
    await runtime.io.err(
      `sluice: ${printable(error.message)}\n${error.hint === undefined ? '' : `${printable(error.hint)}\n`}`,
    );
    return error.exitCode;
  }
  await runtime.io.err(
    `sluice: unexpected: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`,
  );
  return exitCodes.failed;
}

/** Commander has written the message; help and version come this way too. */
async function reportUsage(
  error: CommanderError,
  args: readonly string[],
  runtime: Runtime,
): Promise<ExitCode> {
  if (error.exitCode === 0) return exitCodes.ok;
  if (args.includes('--json')) {
    const message = error.message.replace(/^error: /, '');
    await createJsonOutput(runtime.io.out).document({
      error: { code: 'usage', message, exit_code: exitCodes.usage },
    });
  }
  return exitCodes.usage;
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Line breaks stay; other control characters of a server's message, those that turn text around included, do not reach the terminal. */
function printable(text: string): string {
  return text.replaceAll(control, ' ');
}
