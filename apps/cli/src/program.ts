import { Command, Option } from 'commander';
import { defineBuildCommands } from './define/build.ts';
import { defineFileCommands } from './define/file.ts';
import { defineImageCommands } from './define/image.ts';
import { defineProfileCommands } from './define/profile.ts';
import { defineRunCommands } from './define/run.ts';
import { defineServiceCommands } from './define/service.ts';
import { defineSetupCommands } from './define/setup.ts';
import { defineSystemCommands } from './define/system.ts';
import type { Context, GlobalOptions, LocalContext, Runtime } from './context.ts';
import { exitCodeMeanings, type ExitCode } from './exit-codes.ts';
import { clientVersion } from './version.ts';

/** How a command line ended. */
export interface ProgramState {
  exitCode: ExitCode;
  /** Something has been written with `--json`. */
  jsonBegun: boolean;
  /** What commander (help, version, usage) has begun to write. */
  readonly writes: Promise<void>[];
}

/** Runs the body of a command. What it needs is loaded only now: `sluice --version` should not wait for it. */
export type RunCommand = (command: Command, body: (context: Context) => Promise<ExitCode>) => Promise<void>;

/** The same for a command that needs no server, or finds its own. */
export type RunLocal = (
  command: Command,
  body: (context: LocalContext) => Promise<ExitCode>,
) => Promise<void>;

/** The whole command line. @param state is told how the command ended */
export function createProgram(runtime: Runtime, state: ProgramState): Command {
  const program = new Command('sluice');
  const runLocal: RunLocal = async (command, body) => {
    const { createLocalContext } = await import('./context.ts');
    const context = createLocalContext(runtime, command.optsWithGlobals<GlobalOptions>());
    try {
      state.exitCode = await body(context);
    } finally {
      state.jsonBegun = context.json?.hasBegun() ?? false;
      context.close();
    }
  };
  const run: RunCommand = (command, body) =>
    runLocal(command, async (local) => await body(await (await import('./context.ts')).connect(local)));
  program
    .description('Turns files into results: services, their runs, and the files in and out.')
    .version(clientVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show help for a command')
    .addOption(
      new Option(
        '--url <url>',
        'the server (default: SLUICE_URL, else a profile, else the one of this machine)',
      ),
    )
    .addOption(
      new Option(
        '--profile <name>',
        'the server of a profile, see "sluice profile" (default: SLUICE_PROFILE)',
      ),
    )
    .option(
      '--timeout <time>',
      'how long to wait: for runs and builds (default 1h), else for an answer (default 30s); 0 is no limit',
    )
    .option('--json', 'write JSON for programs: one document, or a line for each thing that is followed')
    .option('--no-color', 'no colours (also with NO_COLOR set)')
    .showHelpAfterError('(--help shows how)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => state.writes.push(runtime.io.out(text)),
      writeErr: (text) => state.writes.push(runtime.io.err(text)),
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    });
  defineSetupCommands(program, runLocal);
  defineProfileCommands(program, runLocal);
  defineServiceCommands(program, run);
  defineRunCommands(program, run);
  defineFileCommands(program, run);
  defineBuildCommands(program, run);
  defineImageCommands(program, run);
  defineSystemCommands(program, run);
  return program.addHelpText('after', rootHelp());
}

function rootHelp(): string {
  const codes = exitCodeMeanings.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return `
Examples:
  $ sluice apply fdl.yaml                              make the services of a file
  $ sluice file put --wait photo.jpg thumbnail/in/     upload, wait, and name the outputs
  $ sluice file get thumbnail/out/ results/            fetch all of them
  $ sluice run list --state failed                     what went wrong
  $ sluice run logs -f RUN                             follow a run's log

Exit codes:
${codes.join('\n')}

Environment:
  SLUICE_URL, SLUICE_PROFILE                  the server, or the profile with it
  SLUICE_USERNAME, SLUICE_PASSWORD            who you are (or OSCAR_USERNAME, OSCAR_PASSWORD; each also with _FILE)
  SLUICE_DATA                                 data folder of a server on this machine, whose own password is used
`;
}
