import type { Command } from 'commander';
import type { InitOptions } from '../commands/init.ts';
import type { RunLocal } from '../program.ts';
import { examples } from './examples.ts';

/** Commands that a service or a server begins with. */
export function defineSetupCommands(program: Command, run: RunLocal): void {
  program
    .command('init')
    .summary('write the files of a new service')
    .description('Writes NAME.yaml (the definition) and NAME.sh (the script), ready for "sluice apply".')
    .argument('[name]', 'name of the service; asked for on a terminal')
    .option('--dir <folder>', 'where to (default: the current folder)')
    .option('--image <image>', 'container image (default: one for the language)')
    .option('--input <bucket/folder>', 'files that land here start runs (default: NAME/in)')
    .option('--output <bucket/folder>', 'results go here (default: NAME/out)')
    .option('--lang <language>', 'what the script is written in: sh, python or node', 'sh')
    .option('--force', 'overwrite files that are there')
    .addHelpText(
      'after',
      examples(
        ['sluice init word-count', 'word-count.yaml and word-count.sh, here'],
        ['sluice init resize --lang python --dir services', 'a script in Python, in a folder'],
      ),
    )
    .action((name: string | undefined, options: InitOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/init.ts')).init(context, name, options)),
    );
  program
    .command('schema')
    .summary('print the JSON Schema of FDL files')
    .description('Prints the JSON Schema of FDL files, with which editors complete and check them.')
    .addHelpText('after', examples(['sluice schema > fdl.schema.json', 'for an editor']))
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/schema.ts')).printSchema(context)),
    );
  defineHelpers(program, run);
}

function defineHelpers(program: Command, run: RunLocal): void {
  program
    .command('doctor')
    .summary('find out what is wrong, and how to mend it')
    .description(
      'Checks this machine, the way to the server, and the server. Exits with 1 if anything fails.',
    )
    .addHelpText('after', examples(['sluice doctor --profile prod', 'is it me or the server?']))
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/doctor.ts')).doctor(context)),
    );
  program
    .command('completion')
    .summary('print the script that completes command lines in a shell')
    .description('Prints the script with which a shell completes commands, options and names on the Tab key.')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      examples(
        ['source <(sluice completion bash)', 'in ~/.bashrc'],
        ['sluice completion zsh > ~/.zfunc/_sluice', 'a folder of $fpath'],
        ['sluice completion fish > ~/.config/fish/completions/sluice.fish', 'fish finds it there'],
      ),
    )
    .action((shell: string, _: unknown, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/completion.ts')).printCompletion(context, program, shell),
      ),
    );
  program
    .command('__complete', { hidden: true })
    .argument('<kind>')
    .action((kind: string, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/complete.ts')).complete(context, kind)),
    );
}
