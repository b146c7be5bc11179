import type { Command } from 'commander';
import type { ManyOptions } from '../commands/dead-letter.ts';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

export function defineSystemCommands(program: Command, run: RunCommand): void {
  const group = program
    .command('dead-letter')
    .summary('what could not be processed: list, send again, delete')
    .description('Lists, sends again and deletes what could not be processed.');
  group
    .command('list')
    .alias('ls')
    .description('List dead letters, the newest first')
    .option('--limit <n>', 'at most so many', '50')
    .action((options: { limit: string }, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/dead-letter.ts')).listDeadLetters(context, options),
      ),
    );
  group
    .command('show')
    .description('Show a dead letter as the server has it')
    .argument('<id>')
    .action((id: string, _: unknown, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/dead-letter.ts')).showDeadLetter(context, id),
      ),
    );
  group
    .command('redrive')
    .description('Send dead letters on their way again')
    .argument('[id...]')
    .option('--all', 'all of them')
    .addHelpText('after', examples(['sluice dead-letter redrive --all', 'once the cause is mended']))
    .action((ids: string[], options: ManyOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/dead-letter.ts')).redriveDeadLetters(context, ids, options),
      ),
    );
  group
    .command('delete')
    .alias('rm')
    .description('Delete dead letters')
    .argument('[id...]')
    .option('--all', 'all of them')
    .option('-y, --yes', 'do not ask')
    .action((ids: string[], options: ManyOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/dead-letter.ts')).deleteDeadLetters(context, ids, options),
      ),
    );
  program
    .command('status')
    .summary('show the server: version, adapters, what it has to do')
    .description('Shows the server: version, adapters, what it has to do.')
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/status.ts')).status(context)),
    );
}
