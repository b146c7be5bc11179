/** Names that a shell keeps for itself, or takes certain values of only: setting one that it refuses would end it. */
const guarded: ReadonlySet<string> = new Set([
  'UID',
  'EUID',
  'PPID',
  'BASHOPTS',
  'SHELLOPTS',
  'BASH_VERSINFO',
  'OPTIND',
]);

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Text that a shell reads to get an environment, on top of the one it has. */
export interface ShellEnvironment {
  readonly text: string;
  /** Names that no shell can hand on. */
  readonly leftOut: readonly string[];
}

/**
 * What the shell of a pod's main container reads before it becomes the script's. `HOME` is the script's folder where the image's own cannot be written, as for a user that
 * the image does not know.
 */
export function shellEnvironment(cwd: string, env: Readonly<Record<string, string>>): ShellEnvironment {
  const folder = quoted(cwd);
  const lines = [`cd ${folder} || exit 126`, `[ -w "\${HOME:-/proc}" ] || export HOME=${folder}`];
  const leftOut: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!identifier.test(name)) leftOut.push(name);
    else if (guarded.has(name)) {
      lines.push(`(export ${name}=${quoted(value)}) 2>/dev/null && export ${name}=${quoted(value)}`);
    } else lines.push(`export ${name}=${quoted(value)}`);
  }
  // The last line's status is nobody's business.
  return { text: `${lines.join('\n')}\n:\n`, leftOut };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
