import type { Command } from 'commander';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

export function defineImageCommands(program: Command, run: RunCommand): void {
  const group = program
    .command('image')
    .summary('list, show, delete and prune images that were built')
    .description('Lists, shows, deletes and prunes images that were built.');
  group
    .command('list')
    .alias('ls')
    .description('List your images')
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/image.ts')).listImages(context)),
    );
  group
    .command('show')
    .description('Show an image: its digest, what it was made of, which services use it')
    .argument('<image-tag>')
    .action((tag: string, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/image.ts')).showImage(context, tag)),
    );
  group
    .command('delete')
    .alias('rm')
    .description('Delete images; one that a service uses only with --force')
    .argument('<image-tag...>')
    .option('--force', 'also those that services use')
    .addHelpText('after', examples(['sluice image delete python-0123456789abcdef0123', 'by its tag']))
    .action((tags: string[], options: { force?: boolean }, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/image.ts')).deleteImages(context, tags, options),
      ),
    );
  group
    .command('prune')
    .description('Delete the images that the server’s rules do not keep, of all users')
    .option('--dry-run', 'only show what would go')
    .addHelpText('after', examples(['sluice image prune --dry-run', 'what would go, and why']))
    .action((options: { dryRun?: boolean }, command: Command) =>
      run(command, async (context) => (await import('../commands/image.ts')).pruneImages(context, options)),
    );
}
