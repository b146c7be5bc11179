import type { Command } from 'commander';
import type { ApplyOptions } from '../commands/apply.ts';
import type { DeleteOptions, ShowOptions } from '../commands/service.ts';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

export function defineServiceCommands(program: Command, run: RunCommand): void {
  const cluster = [
    '--cluster <id>',
    'only services of this cluster (the key above a service in the file)',
  ] as const;
  const rebuild = [
    '--rebuild',
    'build images again where the ones that they begin with have changed',
  ] as const;
  program
    .command('apply')
    .summary('make the services of FDL files, or change them')
    .description(
      'Makes the server’s services those of the files: images are built first, new services created, different ones replaced.',
    )
    .argument('<file...>', 'FDL files; "-" is standard input')
    .option(...cluster)
    .option('--watch', 'apply again whenever a file, a script or a requirements file changes, until Ctrl-C')
    .option(...rebuild)
    .addHelpText(
      'after',
      examples(
        ['sluice apply fdl.yaml', 'make or change its services'],
        ['sluice apply --watch fdl.yaml', 'and keep them as the files are'],
        ['sluice plan fdl.yaml', 'only show what would change'],
      ),
    )
    .action((files: string[], options: ApplyOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/apply.ts')).apply(context, files, options)),
    );
  program
    .command('plan')
    .summary('show what apply would change')
    .description(
      'Compares the files with the server, field by field. Nothing is changed; secrets are never shown.',
    )
    .argument('<file...>', 'FDL files; "-" is standard input')
    .option(...cluster)
    .option(...rebuild)
    .addHelpText('after', '\nA line for each service: "+" is new, "~" is different, "=" is unchanged.\n')
    .action((files: string[], options: ApplyOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/apply.ts')).plan(context, files, options)),
    );
  defineService(
    program
      .command('service')
      .summary('list, show, stop, start and delete services')
      .description('Lists, shows, stops, starts and deletes services.'),
    run,
  );
}

function defineService(service: Command, run: RunCommand): void {
  service
    .command('list')
    .alias('ls')
    .description('List the services')
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/service.ts')).listServices(context)),
    );
  service
    .command('show')
    .description('Show a service’s definition')
    .argument('<service>')
    .option('--script', 'print only its script')
    .option('--token', 'print only its token (for POST /run and POST /job)')
    .action((name: string, options: ShowOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/service.ts')).showService(context, name, options),
      ),
    );
  defineTurn(service, run);
  service
    .command('delete')
    .alias('rm')
    .description('Delete services, their waiting runs, and their buckets with all that is in them')
    .argument('<service...>')
    .option('-y, --yes', 'do not ask')
    .option('--keep-buckets', 'leave the buckets and what is in them')
    .addHelpText('after', examples(['sluice service delete thumbnail --keep-buckets', 'the results stay']))
    .action((names: string[], options: DeleteOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/service.ts')).deleteServices(context, names, options),
      ),
    );
}

function defineTurn(service: Command, run: RunCommand): void {
  const turns = [
    ['stop', 'Answer no calls of services until they are started; files and submitted runs go on'],
    ['start', 'Answer calls again'],
    ['restart', 'Replace the runners that answer calls'],
  ] as const;
  for (const [action, description] of turns) {
    service
      .command(action)
      .description(description)
      .argument('<service...>')
      .addHelpText('after', examples([`sluice service ${action} thumbnail`, description.toLowerCase()]))
      .action((names: string[], _: unknown, command: Command) =>
        run(command, async (context) =>
          (await import('../commands/service.ts')).turnServices(context, names, action),
        ),
      );
  }
}
