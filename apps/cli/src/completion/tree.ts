import type { Argument, Command, Option } from 'commander';

/** What stands in a place of the command line: names that the server has, files, or one of a few words. */
export type Kind =
  | 'services'
  | 'runs'
  | 'builds'
  | 'images'
  | 'buckets'
  | 'profiles'
  | 'files'
  | 'folders'
  | 'files-buckets'
  | 'none'
  | `=${string}`;

export interface OptionNode {
  /** `--output`, `-o`. */
  readonly names: readonly string[];
  readonly description: string;
  /** Undefined: it takes no value. */
  readonly value: Kind | undefined;
}

export interface CommandNode {
  /** `sluice run list`. */
  readonly path: string;
  readonly children: readonly {
    readonly names: readonly string[];
    readonly path: string;
    readonly description: string;
  }[];
  /** The command's own and those of all commands. */
  readonly options: readonly OptionNode[];
  readonly args: readonly Kind[];
  /** The last argument may be there many times. */
  readonly isVariadic: boolean;
}

/** Every command that people see, the program first. */
export function commandTree(program: Command): readonly CommandNode[] {
  const globals = optionsOf(program).filter(({ names }) => !names.includes('--version'));
  return nodesOf(program, program.name(), globals);
}

function nodesOf(command: Command, path: string, globals: readonly OptionNode[]): CommandNode[] {
  const children = visible(command);
  const isRoot = command.parent === null;
  const own = isRoot ? optionsOf(command) : [...optionsOf(command), ...globals];
  const node: CommandNode = {
    path,
    children: children.map((child) => ({
      names: [child.name(), ...child.aliases()],
      path: `${path} ${child.name()}`,
      description: firstSentence(child.summary() || child.description()),
    })),
    options: [...own, { names: ['--help', '-h'], description: 'show this help', value: undefined }],
    args: command.registeredArguments.map((argument) => argumentKind(argument, command)),
    isVariadic: command.registeredArguments.at(-1)?.variadic === true,
  };
  return [node, ...children.flatMap((child) => nodesOf(child, `${path} ${child.name()}`, globals))];
}

function visible(command: Command): readonly Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
}

function optionsOf(command: Command): OptionNode[] {
  return command.options
    .filter(({ hidden }) => !hidden)
    .map((option) => ({
      names: [option.long, option.short].filter((name) => name !== undefined && name !== null),
      description: firstSentence(option.description),
      value: option.required || option.optional ? optionKind(option) : undefined,
    }));
}

function firstSentence(text: string): string {
  return text.split(/[.;(]/, 1)[0]?.trim() ?? '';
}

/** By the word in angle brackets. */
const kinds: Readonly<Record<string, Kind>> = {
  service: 'services',
  run: 'runs',
  build: 'builds',
  'image-tag': 'images',
  'bucket/path': 'buckets',
  'bucket/folder': 'buckets',
  profile: 'profiles',
  file: 'files',
  to: 'files',
  folder: 'folders',
  kind: '=python nodejs go java php ruby dotnet',
  'build-state': '=queued running succeeded failed cancelled expired',
  shell: '=bash zsh fish',
  language: '=sh python node',
  states: '=queued starting running succeeded failed cancelled superseded',
};

function argumentKind(argument: Argument, command: Command): Kind {
  // Where to comes last, after what.
  if (argument.name() === 'file' && command.usage().includes('bucket/path')) return 'files-buckets';
  return kinds[argument.name()] ?? 'none';
}

function optionKind(option: Option): Kind {
  if (option.long === '--profile') return 'profiles';
  return kinds[/[<[]([^>\]]+?)(?:\.\.\.)?[>\]]/.exec(option.flags)?.[1] ?? ''] ?? 'none';
}
