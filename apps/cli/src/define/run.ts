import type { Command } from 'commander';
import type { BackfillOptions } from '../commands/backfill.ts';
import type { CallOptions } from '../commands/call.ts';
import type { ListOptions, LogOptions } from '../commands/run.ts';
import type { SubmitOptions } from '../commands/submit.ts';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

export function defineRunCommands(program: Command, run: RunCommand): void {
  program
    .command('submit')
    .summary('start a run with an event')
    .description('Starts a run with an event: a file, standard input ("-"), or nothing. Prints the run’s id.')
    .argument('<service>')
    .argument('[file]', 'JSON goes as it is, anything else as base64: the script gets the same bytes')
    .option('--wait', 'wait until the run has ended, and print its outputs')
    .option('--idempotency-key <key>', 'a repetition with the same key gives the first run again')
    .option('--raw', 'send the bytes as they are')
    .addHelpText(
      'after',
      examples(
        ['sluice submit cowsay message.txt --wait', 'run it and wait'],
        ['echo \'{"a":1}\' | sluice submit cowsay -', 'an event from a pipe'],
      ),
    )
    .action((service: string, file: string | undefined, options: SubmitOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/submit.ts')).submit(context, service, file, options),
      ),
    );
  defineCall(program, run);
  defineRun(
    program
      .command('run')
      .summary('list, show, follow, cancel and retry runs')
      .description('Lists, shows, follows, cancels and retries runs.'),
    run,
  );
  program
    .command('backfill')
    .summary('run a service for files that were there before it')
    .description(
      'Has a service run for objects in its input folder that have had no run. Prints the back-fill’s id.',
    )
    .argument('<service>')
    .option('--prefix <bucket/folder>', 'only objects below this')
    .option('--again', 'also those that have had their run')
    .addHelpText(
      'after',
      examples(['sluice backfill thumbnail --prefix thumbnail/in/2025/', 'only the old pictures']),
    )
    .action((service: string, options: BackfillOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/backfill.ts')).backfill(context, service, options),
      ),
    );
}

function defineCall(program: Command, run: RunCommand): void {
  program
    .command('call')
    .summary('call a service and wait for its answer')
    .description(
      'Calls a service with a file, standard input ("-"), or nothing, and prints its answer: the file that the script made, or what it printed.',
    )
    .argument('<service>')
    .argument('[file]', 'JSON goes as it is, anything else as base64: the script gets the same bytes')
    .option('--raw', 'send the bytes as they are')
    .option('-o, --output <file>', 'write the answer to a file; "-" is standard output')
    .option('--no-decode', 'leave an answer in base64 as it is')
    .option('--content-type <type>', 'what the input is, for the script')
    .addHelpText(
      'after',
      examples(
        ['sluice call thumbnail photo.jpg -o small.png', 'a file in, a file out'],
        ['echo \'{"a":1}\' | sluice call cowsay -', 'JSON from a pipe'],
      ),
    )
    .action((service: string, file: string | undefined, options: CallOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/call.ts')).call(context, service, file, options),
      ),
    );
}

function defineRun(group: Command, run: RunCommand): void {
  group
    .command('list')
    .alias('ls')
    .description('List runs, the newest first')
    .argument('[service]', 'only runs of this service')
    .option(
      '--state <states>',
      'only these, comma between them: queued, starting, running, succeeded, failed, cancelled, superseded',
    )
    .option('--input <bucket/path>', 'only runs for this object')
    .option('--limit <n>', 'at most so many', '20')
    .addHelpText('after', examples(['sluice run list --state queued,running', 'what is to do']))
    .action((service: string | undefined, options: ListOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/run.ts')).listRuns(context, service, options),
      ),
    );
  group
    .command('show')
    .description('Show a run: time line, input, outputs, and why it failed')
    .argument('<run>')
    .action((id: string, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/run.ts')).showRun(context, id)),
    );
  group
    .command('logs')
    .alias('log')
    .description('Print what a run has printed')
    .argument('<run>')
    .option('-f, --follow', 'go on until the run has ended')
    .option('-t, --timestamps', 'begin each line with its time')
    .action((id: string, options: LogOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/run.ts')).showLog(context, id, options)),
    );
  group
    .command('cancel')
    .description('Cancel runs that have not ended')
    .argument('<run...>')
    .action((ids: string[], _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/run.ts')).cancelRuns(context, ids)),
    );
  group
    .command('retry')
    .description('Run an ended run’s input again, as a new run. Prints its id.')
    .argument('<run>')
    .option('--wait', 'wait until the new run has ended, and print its outputs')
    .action((id: string, options: { wait?: boolean }, command: Command) =>
      run(command, async (context) => (await import('../commands/run.ts')).retryRun(context, id, options)),
    );
}
