import { quoted, stepCases } from './bash.ts';
import type { CommandNode } from './tree.ts';

/** Not `commands` and `options`, which are zsh’s own. */
export function zshScript(nodes: readonly CommandNode[]): string {
  return `#compdef sluice
# zsh completion for sluice; "sluice completion zsh" has written it.
# Use it as a file _sluice in a folder of $fpath, or with: source <(sluice completion zsh)

_sluice_about() {
  case $1 in
${nodes.map(aboutCase).join('\n')}
  esac
}

_sluice_step() {
  case "$at $1" in
${stepCases(nodes, (path) => `at=${quoted(path)}; count=0; return 0`)}
  esac
  return 1
}

# The kind of value that an option takes; fails for one that takes none.
_sluice_value() {
  local pair
  for pair in "\${valued[@]}"; do
    if [[ $pair == "$1 "* ]]; then
      kind=\${pair#* }
      return 0
    fi
  done
  return 1
}

_sluice_names() {
  local name
  local -a names
  while IFS= read -r name; do
    names+=("$name")
  done < <(sluice __complete "$1" "\${server[@]}" 2>/dev/null)
  compadd -a names
}

_sluice_fill() {
  case $1 in
  none) ;;
  files) _files ;;
  folders) _files -/ ;;
  files-buckets) _files; _sluice_names buckets ;;
  =*) compadd -- \${=1#=} ;;
  *) _sluice_names "$1" ;;
  esac
}

${walk}

if [[ \${funcstack[1]} == _sluice ]]; then
  _sluice "$@"
else
  compdef _sluice sluice
fi
`;
}

/** Goes along the line to the command and the place that the cursor is in. */
const walk = `_sluice() {
  emulate -L zsh
  local at=sluice pending= word kind
  local -i count=0 i
  local -a subcommands flags valued args server
  _sluice_about "$at"
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $pending ]]; then
      [[ $pending == --url || $pending == --profile ]] && server+=("$pending" "$word")
      pending=
    elif [[ $word == --url=* || $word == --profile=* ]]; then
      server+=("$word")
    elif [[ $word == -?* ]]; then
      _sluice_value "$word" && pending=$word
    elif _sluice_step "$word"; then
      _sluice_about "$at"
    else
      count+=1
    fi
  done
  word=\${words[CURRENT]}
  if [[ -z $pending && $word == --*=* ]]; then
    pending=\${word%%=*}
    compset -P 1 '*='
  fi
  if [[ -n $pending ]]; then
    _sluice_value "$pending" && _sluice_fill "$kind"
  elif [[ $word == -* ]]; then
    _describe -o option flags
  elif (( \${#subcommands} > 0 )); then
    _describe command subcommands
  else
    if (( count >= \${#args} - 1 )) && [[ \${args[-1]} == ... ]]; then count=$(( \${#args} - 2 )); fi
    _sluice_fill "\${args[count + 1]:-none}"
  fi
}`;

function aboutCase(node: CommandNode): string {
  const commands = node.children.map(({ names, description }) => described(names[0] ?? '', description));
  const options = node.options.flatMap(({ names, description }) =>
    names.map((name) => described(name, description)),
  );
  const valued = node.options.flatMap(({ names, value }) =>
    value === undefined ? [] : names.map((name) => `${name} ${value}`),
  );
  const args: string[] = [...node.args, ...(node.isVariadic ? ['...'] : [])];
  const list = (items: readonly string[]): string => `(${items.map(quoted).join(' ')})`;
  return `  ${quoted(node.path)})
    subcommands=${list(commands)}
    flags=${list(options)}
    valued=${list(valued)}
    args=${list(args)}
    ;;`;
}

function described(name: string, description: string): string {
  return `${name}:${description.replaceAll(':', String.raw`\:`)}`;
}
