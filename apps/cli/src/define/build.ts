import type { Command } from 'commander';
import type { EnsureOptions, StartOptions } from '../commands/build-start.ts';
import type { BuildLogOptions, BuildListOptions } from '../commands/build.ts';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

const noWait = ['--no-wait', 'do not wait for its end; print its id'] as const;

export function defineBuildCommands(program: Command, run: RunCommand): void {
  const group = program
    .command('build')
    .summary('build images: start, watch, cancel and list builds')
    .description('Builds images from requirements files: starts, watches, cancels and lists builds.');
  defineStart(group, run);
  defineEnsure(group, run);
  defineReads(group, run);
  defineLogs(group, run);
}

function defineReads(group: Command, run: RunCommand): void {
  group
    .command('list')
    .alias('ls')
    .description('List builds, the newest first')
    .option('--state <build-state>', 'only these: queued, running, succeeded, failed, cancelled or expired')
    .option('--limit <n>', 'at most so many', '20')
    .addHelpText('after', examples(['sluice build list --state running', 'what is being built']))
    .action((options: BuildListOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/build.ts')).listBuilds(context, options)),
    );
  group
    .command('status')
    .alias('show')
    .description('Show a build: its image, how far it is, and why it failed')
    .argument('<build>')
    .addHelpText('after', examples(['sluice build status BUILD --json', 'for a program']))
    .action((id: string, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/build.ts')).showBuild(context, id)),
    );
}

function defineLogs(group: Command, run: RunCommand): void {
  group
    .command('logs')
    .alias('log')
    .description('Print what a build has printed')
    .argument('<build>')
    .option('-f, --follow', 'go on until the build has ended')
    .addHelpText('after', examples(['sluice build logs -f BUILD', 'watch it to its end']))
    .action((id: string, options: BuildLogOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/build.ts')).showBuildLog(context, id, options),
      ),
    );
  group
    .command('cancel')
    .description('Cancel builds that have not ended; a build that others asked for as well goes on for them')
    .argument('<build...>')
    .addHelpText('after', examples(['sluice build cancel BUILD', 'its image is not made']))
    .action((ids: string[], _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/build.ts')).cancelBuilds(context, ids)),
    );
  group
    .command('clean')
    .description('Forget your builds that have ended; their images stay')
    .option('--max-age-hours <n>', 'only those that are older', '24')
    .addHelpText('after', examples(['sluice build clean --max-age-hours 0', 'all that have ended']))
    .action((options: { maxAgeHours: string }, command: Command) =>
      run(command, async (context) => (await import('../commands/build.ts')).cleanBuilds(context, options)),
    );
}

function defineStart(group: Command, run: RunCommand): void {
  group
    .command('start')
    .summary('build an image')
    .description('Builds an image from a base image and a requirements file, and prints its name and digest.')
    .requiredOption('--source <image>', 'image that it begins with')
    .requiredOption(
      '--kind <kind>',
      'language of the requirements file: python, nodejs, go, java, php, ruby or dotnet',
    )
    .option(
      '--file <file>',
      'the requirements file; "-" is standard input (default: none, the image under another name)',
    )
    .option('--target <user:tag>', 'name of the image (default: you, and a tag of kind, source and file)')
    .option('--force', 'build again, whatever is there')
    .option('--platform <platforms>', 'platforms, comma between them (default: the builder’s own)')
    .option('--sbom', 'attach a list of what is in the image')
    .option('--provenance', 'attach how it was built')
    .option(...noWait)
    .addHelpText(
      'after',
      examples(
        [
          'sluice build start --source python:3.11-slim --kind python --file requirements.txt',
          'build and wait',
        ],
        [
          'sluice build start --source node:24-slim --kind nodejs --file package.json --no-wait',
          'print the id',
        ],
      ),
    )
    .action((options: StartOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/build-start.ts')).startBuild(context, options),
      ),
    );
}

function defineEnsure(group: Command, run: RunCommand): void {
  group
    .command('ensure')
    .summary('have the image of a builder and a requirements file')
    .description(
      'Builds the image of one of the server’s builders and a requirements file, unless it is there. The same file is the same build.',
    )
    .requiredOption('--builder <id>', 'one of the server’s builders (GET /system/api/v1/build/capabilities)')
    .requiredOption('--file <file>', 'the requirements file; "-" is standard input')
    .option('--no-retry', 'leave it at that where the build has failed before')
    .option(...noWait)
    .addHelpText(
      'after',
      examples([
        'sluice build ensure --builder python-3.11 --file requirements.txt',
        'build it where it is not there',
      ]),
    )
    .action((options: EnsureOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/build-start.ts')).ensureBuild(context, options),
      ),
    );
}
