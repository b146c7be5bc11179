import type { CommandNode } from './tree.ts';

/** `'` ends, an escaped one, `'` begins again. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Lines of a `case` that finds the command below `$at` which `$word` names. */
export function stepCases(nodes: readonly CommandNode[], set: (path: string) => string): string {
  return nodes
    .flatMap(({ path, children }) =>
      children.map((child) => {
        const patterns = child.names.map((name) => quoted(`${path} ${name}`)).join('|');
        return `    ${patterns}) ${set(child.path)} ;;`;
      }),
    )
    .join('\n');
}

export function bashScript(nodes: readonly CommandNode[]): string {
  return `# bash completion for sluice; "sluice completion bash" has written it.
# Use it with: source <(sluice completion bash)

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
  while IFS= read -r pair; do
    [[ $pair == "$1 "* ]] && { kind=\${pair#* }; return 0; }
  done <<<"$valued"
  return 1
}

_sluice_reply() {
  local word
  while IFS= read -r word; do COMPREPLY+=("$word"); done
}

_sluice_fill() {
  case $1 in
  none) return ;;
  files | folders | files-buckets) compopt -o filenames 2>/dev/null ;;
  buckets) compopt -o nospace 2>/dev/null ;;
  esac
  case $1 in
  files) _sluice_reply < <(compgen -f -- "$current") ;;
  folders) _sluice_reply < <(compgen -d -- "$current") ;;
  files-buckets)
    _sluice_reply < <(
      compgen -f -- "$current"
      compgen -W "$(sluice __complete buckets "\${server[@]}" 2>/dev/null)" -- "$current"
    )
    ;;
  =*) _sluice_reply < <(compgen -W "\${1#=}" -- "$current") ;;
  *) _sluice_reply < <(compgen -W "$(sluice __complete "$1" "\${server[@]}" 2>/dev/null)" -- "$current") ;;
  esac
}

${walk}

complete -F _sluice sluice
`;
}

/** Goes along the line to the command and the place that the cursor is in. */
const walk = `_sluice() {
  local at=sluice count=0 pending= current= word kind i commands options valued args
  local -a line=() server=() kinds=()
  COMPREPLY=()
  # Not COMP_WORDS: it splits at ":" and "=".
  read -ra line <<<"\${COMP_LINE:0:COMP_POINT}"
  if [[ \${COMP_LINE:COMP_POINT-1:1} == [[:blank:]] ]]; then line+=(''); fi
  current=\${line[\${#line[@]} - 1]}
  _sluice_about "$at"
  for ((i = 1; i < \${#line[@]} - 1; i++)); do
    word=\${line[i]}
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
      count=$((count + 1))
    fi
  done
  if [[ -z $pending && $current == --*=* ]]; then
    pending=\${current%%=*} current=\${current#*=}
  fi
  if [[ -n $pending ]]; then
    _sluice_value "$pending" && _sluice_fill "$kind"
  elif [[ $current == -* ]]; then
    _sluice_reply < <(compgen -W "$options" -- "$current")
  elif [[ -n $commands ]]; then
    _sluice_reply < <(compgen -W "$commands" -- "$current")
  else
    while IFS= read -r word; do kinds+=("$word"); done <<<"$args"
    if ((count >= \${#kinds[@]} - 1)) && [[ \${kinds[\${#kinds[@]} - 1]} == ... ]]; then count=$((\${#kinds[@]} - 2)); fi
    _sluice_fill "\${kinds[count]:-none}"
  fi
}`;

function aboutCase(node: CommandNode): string {
  const commands = node.children.map(({ names }) => names[0]).join(' ');
  const options = node.options.flatMap(({ names }) => names).join(' ');
  const valued = node.options.flatMap(({ names, value }) =>
    value === undefined ? [] : names.map((name) => `${name} ${value}`),
  );
  const args = [...node.args, ...(node.isVariadic ? ['...'] : [])];
  return `  ${quoted(node.path)})
    commands=${quoted(commands)}
    options=${quoted(options)}
    valued=${quoted(valued.join('\n'))}
    args=${quoted(args.join('\n'))}
    ;;`;
}
