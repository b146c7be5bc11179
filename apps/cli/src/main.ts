import { exitCodes, type ExitCode } from './exit-codes.ts';
import { createIo } from './io.ts';
import { Interrupted, runCli } from './run-cli.ts';

/** The process's side of `runCli`: environment, streams, signals, exit code. */
export async function main(): Promise<void> {
  const controller = new AbortController();
  const stop = new Map([
    ['SIGINT', () => interrupt(exitCodes.interrupted)],
    ['SIGTERM', () => interrupt(exitCodes.terminated)],
  ] as const);
  const interrupt = (exitCode: ExitCode): void => {
    // The second time the system ends us, at once: whatever the first did not end is stuck, and `process.exit` waits for a
    // file that is being read, such as one of a network file system that is away.
    for (const [name, handler] of stop) process.off(name, handler);
    controller.abort(new Interrupted(exitCode));
  };
  for (const [name, handler] of stop) process.on(name, handler);
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
