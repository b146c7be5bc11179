import type { Recipe } from './recipes/index.ts';

/** Where the step of a build finds what it needs. Nothing of it is in the image: these are mounts, whose empty folders BuildKit takes away again. */
export const mounts = {
  context: '/.sluice-build/context',
  cache: '/.sluice-build/cache',
  tools: '/.sluice-build/tools',
} as const;

/** Name of the script in the context. */
export const scriptName = 'install.sh';

const begin = `\
#!/bin/sh
# Installs the requirements of an image. Run as root with the USER of the base image, or nothing where that is root.
set -eu
umask 022
owner=\${1:-}

say() { printf 'sluice: %s\\n' "$*"; }
fail() {
  printf 'sluice: %s\\n' "$*" >&2
  exit 1
}
# The home folder that the base image's user gets when the image runs. HOME of the image itself, if it has one, is kept for any user.
owner_home() {
  name=\${owner%%:*}
  home=
  if [ -n "$name" ] && [ "\${HOME:-/root}" = /root ] && [ -r /etc/passwd ]; then
    home=$(while IFS=: read -r user _ id _ _ folder _; do
      if [ "$user" = "$name" ] || [ "$id" = "$name" ]; then printf '%s' "$folder"; break; fi
    done </etc/passwd)
  fi
  printf '%s' "\${home:-\${HOME:-/root}}"
}
# Makes a folder; it and the folders above it that were missing belong to the base image's user.
own_folder() {
  [ ! -d "$1" ] || return 0
  own_folder "$(dirname "$1")"
  mkdir "$1"
  [ -z "$owner" ] || chown "$owner" "$1"
}
# Removes what the step left in /tmp and keeps what the base image has there.
tidy() {
  cd /
  for entry in /tmp/* /tmp/.[!.]* /tmp/..?*; do
    case "$before" in *"|$entry|"*) ;; *) rm -rf "$entry" ;; esac
  done
}

mkdir -p /tmp
before='|'
for entry in /tmp/* /tmp/.[!.]* /tmp/..?*; do before="$before$entry|"; done
work=$(mktemp -d /tmp/sluice.XXXXXX)
export TMPDIR="$work"
trap tidy EXIT
`;

/**
 * The script of a build's one step. Only what a recipe says enters it, so that the same recipe always gives the same text.
 * A base that knows how to extend itself (`/bin/extend`, spec of OpenServerless' runtimes) is asked to; it looks for the file in /tmp.
 */
export function installScript(recipe: Recipe & { readonly install: string }): string {
  const caches = Object.entries(recipe.cacheVariables);
  return [
    begin,
    `requirements=${mounts.context}/${recipe.fileName}`,
    `cache=${mounts.cache}`,
    `tools=${mounts.tools}`,
    '[ -d "$tools" ] || tools=',
    ...caches.map(([name, folder]) => `export ${name}="$cache/${folder}"`),
    'if [ -f /bin/extend ] && [ -x /bin/extend ]; then',
    "  say 'the base image extends itself (/bin/extend)'",
    `  cp "$requirements" /tmp/${recipe.fileName}`,
    '  /bin/extend',
    `  rm -f /tmp/${recipe.fileName}`,
    '  exit 0',
    'fi',
    '',
    recipe.install,
  ].join('\n');
}
