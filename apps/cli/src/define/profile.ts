import type { Command } from 'commander';
import type { LoginOptions } from '../commands/login.ts';
import type { RunLocal } from '../program.ts';
import { examples } from './examples.ts';

export function defineProfileCommands(program: Command, run: RunLocal): void {
  program
    .command('login')
    .summary('remember a server and who you are there')
    .description(
      'Checks user name and password and keeps them as a profile, which is the current one from then on. On a terminal it asks for what is missing.',
    )
    .argument('<url>', 'the server')
    .option('--name <name>', 'name of the profile (default: the server’s host)')
    .option('--username <name>', 'user name')
    .option('--password-stdin', 'the password is the first line of standard input')
    .option('--ca-file <file>', 'certificate authority (PEM) of this server, beside the system’s')
    .addHelpText(
      'after',
      examples(
        ['sluice login https://sluice.example.org --name prod', 'asks for user and password'],
        ['sluice login http://127.0.0.1:8080 --password-stdin < data/admin-password', 'without asking'],
      ),
    )
    .action((url: string, options: LoginOptions, command: Command) =>
      run(command, async (context) => (await import('../commands/login.ts')).login(context, url, options)),
    );
  program
    .command('logout')
    .summary('forget a profile and its password')
    .description('Forgets a profile and its password.')
    .argument('[profile]', 'default: the current one')
    .action((name: string | undefined, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/login.ts')).logout(context, name)),
    );
  const profile = program
    .command('profile')
    .summary('list, choose and show servers that were logged in to')
    .description('Lists, chooses and shows servers that were logged in to.');
  profile
    .command('list')
    .alias('ls')
    .description('List the profiles; "*" is the current one')
    .action((_: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/profile.ts')).listProfiles(context)),
    );
  profile
    .command('use')
    .description('Make a profile the current one')
    .argument('<profile>')
    .action((name: string, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/profile.ts')).useProfile(context, name)),
    );
  profile
    .command('show')
    .description('Show a profile, without its password')
    .argument('[profile]', 'default: the current one')
    .action((name: string | undefined, _: unknown, command: Command) =>
      run(command, async (context) => (await import('../commands/profile.ts')).showProfile(context, name)),
    );
}
