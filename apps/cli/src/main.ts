import { exitCodes } from './exit-codes.ts';
import { createIo } from './io.ts';
import { Interrupted, runCli } from './run-cli.ts';

/** The process's side of `runCli`: environment, streams, signals, exit code. */
export async function main(): Promise<void> {
  const controller = new AbortController();
  for (const [name, exitCode] of [
    ['SIGINT', exitCodes.interrupted],
    ['SIGTERM', exitCodes.terminated],
  ] as const) {
    process.on(name, () => {
      // The second time at once: whatever the first did not end is stuck.
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort(new Interrupted(exitCode));
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    // The reader has gone; writes reject as well, and `runCli` ends quietly.
    stream.on('error', () => undefined);
  }
  const exitCode = await runCli(process.argv.slice(2), {
    io: createIo(process),
    env: process.env,
    cwd: process.cwd(),
    signal: controller.signal,
  });
  process.exitCode = exitCode;
  // An open stdin or a connection kept alive would hold the process; all output has been written by now.
  process.exit();
}
