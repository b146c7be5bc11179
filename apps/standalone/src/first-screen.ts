/** What a person sees when the server is up. */
export interface FirstScreen {
  readonly url: string;
  /** Where they are, in words. */
  readonly buckets: string;
  readonly username: string;
  /** Only at the start that made it. */
  readonly newPassword: string | undefined;
  readonly passwordFile: string;
  readonly adapters: readonly { port: string; adapter: string; chosenBy: string }[];
  readonly slots: number;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly user: string;
  readonly services: number;
}

/** One screen of text: address, folders, adapters, the warning about rights, the next command. */
export function firstScreen(screen: FirstScreen): string {
  const width = Math.max(...screen.adapters.map((one) => one.port.length));
  const adapterWidth = Math.max(...screen.adapters.map((one) => one.adapter.length));
  const password =
    screen.newPassword === undefined
      ? `as in ${screen.passwordFile}`
      : `${screen.newPassword}   (shown once; kept in ${screen.passwordFile})`;
  return [
    `Sluice is ready at ${screen.url}`,
    '',
    `  buckets    ${screen.buckets}`,
    `  user       ${screen.username}`,
    `  password   ${password}`,
    '',
    ...screen.adapters.map(
      (one) => `  ${one.port.padEnd(width)}  ${one.adapter.padEnd(adapterWidth)}  ${one.chosenBy}`,
    ),
    '',
    `  ${rights(screen)}`,
    `  At the same time run as many as declare ${screen.cores} cores and ${gibibytes(screen.memoryBytes)} GiB together, at most ${screen.slots}.`,
    '',
    screen.services === 0
      ? '  Next: npx sluice apply examples/word-count/word-count.yaml'
      : `  Next: npx sluice status   (${screen.services} service${screen.services === 1 ? '' : 's'} here)`,
    '',
  ].join('\n');
}

function rights({ adapters, user }: FirstScreen): string {
  return adapters.some((one) => one.port === 'executor' && one.adapter === 'containers')
    ? `Scripts run in containers as user "${user}", without privileges, and without network unless a service asks for it.`
    : `Scripts run as processes of this machine with the rights of user "${user}": apply only services that you trust.`;
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}
