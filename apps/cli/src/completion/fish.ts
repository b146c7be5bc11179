import type { CommandNode, Kind } from './tree.ts';

export function fishScript(nodes: readonly CommandNode[]): string {
  return `# fish completion for sluice; "sluice completion fish" has written it.
# Use it as ~/.config/fish/completions/sluice.fish

# Sets where the command line is: __sluice_at (the command) and __sluice_count (arguments after it).
function __sluice_look
    set -g __sluice_at sluice
    set -g __sluice_count 0
    set -g __sluice_server
    set -l pending ''
    set -l line (commandline -opc)
    for word in $line[2..-1]
        if test -n "$pending"
            contains -- $pending --url --profile; and set -a __sluice_server $pending $word
            set pending ''
            continue
        end
        if string match -qr '^--(url|profile)=' -- $word
            set -a __sluice_server $word
            continue
        end
        if string match -qr '^-.' -- $word
            if contains -- "$__sluice_at $word" ${valuedOptions(nodes)}
                set pending $word
            end
            continue
        end
        switch "$__sluice_at $word"
${steps(nodes)}
            case '*'
                set -g __sluice_count (math $__sluice_count + 1)
        end
    end
end

# Whether the command line is at this command, and at this argument of it where one is given ("2+": it or a later one).
function __sluice_is
    __sluice_look
    test "$__sluice_at" = "$argv[1]"; or return 1
    test (count $argv) -lt 2; and return 0
    if string match -q '*+' -- $argv[2]
        test $__sluice_count -ge (string replace '+' '' -- $argv[2])
    else
        test $__sluice_count -eq $argv[2]
    end
end

function __sluice_names
    __sluice_look
    sluice __complete $argv[1] $__sluice_server 2>/dev/null
end

complete -c sluice -f
${nodes.flatMap(nodeLines).join('\n')}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
}

function valuedOptions(nodes: readonly CommandNode[]): string {
  return nodes
    .flatMap(({ path, options }) =>
      options.flatMap(({ names, value }) =>
        value === undefined ? [] : names.map((name) => quoted(`${path} ${name}`)),
      ),
    )
    .join(' ');
}

function steps(nodes: readonly CommandNode[]): string {
  return nodes
    .flatMap(({ path, children }) =>
      children.map(
        (child) =>
          `            case ${child.names.map((name) => quoted(`${path} ${name}`)).join(' ')}\n` +
          `                set -g __sluice_at ${quoted(child.path)}\n` +
          `                set -g __sluice_count 0`,
      ),
    )
    .join('\n');
}

function nodeLines(node: CommandNode): string[] {
  const at = (place = ''): string => quoted(`__sluice_is ${quoted(node.path)}${place}`);
  const children = node.children.map(
    ({ names, description }) =>
      `complete -c sluice -n ${at()} -a ${names[0] ?? ''} -d ${quoted(description)}`,
  );
  const options = node.options.map(({ names, description, value }) => {
    const flags = names.map((name) =>
      name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
    );
    const words = value === undefined ? '' : valueWords(value);
    return `complete -c sluice -n ${at()} ${flags.join(' ')}${words} -d ${quoted(description)}`;
  });
  const args = node.args.flatMap((kind, index) => {
    const isLast = index === node.args.length - 1;
    const words = argumentWords(kind);
    return words === ''
      ? []
      : [`complete -c sluice -n ${at(` ${index}${isLast && node.isVariadic ? '+' : ''}`)}${words}`];
  });
  return [...children, ...options, ...args];
}

function valueWords(kind: Kind): string {
  if (kind === 'files') return ' -r -F';
  return ` -x${argumentWords(kind)}`;
}

function argumentWords(kind: Kind): string {
  if (kind === 'none') return '';
  if (kind === 'files') return ' -F';
  if (kind === 'folders') return " -a '(__fish_complete_directories)'";
  if (kind === 'files-buckets') return " -F -a '(__sluice_names buckets)'";
  return kind.startsWith('=') ? ` -a ${quoted(kind.slice(1))}` : ` -a '(__sluice_names ${kind})'`;
}
