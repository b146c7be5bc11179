import type { Command } from 'commander';
import type { GetOptions } from '../commands/file-get.ts';
import type { PutOptions } from '../commands/file-put.ts';
import type { RemoveOptions } from '../commands/file-rm.ts';
import type { RunCommand } from '../program.ts';
import { examples } from './examples.ts';

const parallel = ['--parallel <n>', 'so many at once', '4'] as const;

export function defineFileCommands(program: Command, run: RunCommand): void {
  const file = program
    .command('file')
    .summary('upload, download, list and delete files')
    .description('Uploads, downloads, lists and deletes files in buckets.');
  definePut(file, run);
  file
    .command('get')
    .summary('download files')
    .description('Downloads an object, a folder (all that is below it) or a glob.')
    .argument('<bucket/path>', 'an object; a folder; a glob in quotes')
    .argument('[to]', 'a file or folder; "-" is standard output (default: the current folder)')
    .option(...parallel)
    .addHelpText(
      'after',
      examples(
        ['sluice file get thumbnail/out/photo-small.png', 'into the current folder'],
        ['sluice file get thumbnail/out/ results/', 'all of a folder'],
        ["sluice file get 'thumbnail/out/*.png' results/", 'what a glob names'],
      ),
    )
    .action((from: string, to: string | undefined, options: GetOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/file-get.ts')).getFiles(context, from, to, options),
      ),
    );
  file
    .command('ls')
    .alias('list')
    .summary('list buckets, or the files in one')
    .description('Lists the buckets, or the objects whose names begin with a path or that a glob names.')
    .argument('[bucket/path]')
    .action((at: string | undefined, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/file-ls.ts')).listFiles(context, at)),
    );
  file
    .command('rm')
    .summary('delete files')
    .description('Deletes objects; several (folders, globs) only after asking.')
    .argument('<bucket/path...>')
    .option('-r, --recursive', 'also folders, with all that is below them')
    .option('-y, --yes', 'do not ask')
    .action((paths: string[], options: RemoveOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/file-rm.ts')).removeFiles(context, paths, options),
      ),
    );
}

function definePut(file: Command, run: RunCommand): void {
  file
    .command('put')
    .summary('upload files')
    .description(
      'Uploads files, folders (all that is below them) and globs. The last argument is where to: a folder if it ends in "/", ' +
        'is one already, or takes several files; else the new name.',
    )
    .usage('[options] <file...> <bucket/path>')
    .argument('<file...>', 'what to upload, and where to')
    .option('--wait', 'wait for the runs that each file starts; print their outputs, or why there are none')
    .option('--content-type <type>', 'what the files are, for those who download them')
    .option(...parallel)
    .addHelpText(
      'after',
      examples(
        ['sluice file put photo.jpg thumbnail/in/', 'upload'],
        ['sluice file put --wait photo.jpg thumbnail/in/', 'and name the outputs'],
        ['sluice file put photos/ thumbnail/in/', 'all that is in a folder'],
        ["sluice file put 'photos/**/*.jpg' thumbnail/in/", 'what a glob names'],
      ),
    )
    .action((args: string[], options: PutOptions, command: Command) =>
      run(command, async (context) =>
        (await import('../commands/file-put.ts')).putFiles(context, args, options),
      ),
    );
}
