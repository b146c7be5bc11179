import { shown, type Recipe } from './recipe.ts';

const fileName = 'go.mod';

/**
 * Downloads what the file lists into the module cache, so that programs with the same requirements are compiled without a network.
 * A Go action of OpenServerless is compiled with `GOPATH=/home/go`, whatever its image says; other images name their own.
 */
export const go: Recipe = {
  kind: 'go',
  version: 1,
  fileName,
  check: checkModule,
  cacheVariables: {},
  cacheSharing: 'shared',
  usesToolImage: false,
  // The folder of the image can't be the cache: modules are downloaded into the cache and taken from there as from a proxy,
  // so that only those of this file get into the image. Their sums are checked on the way into the cache.
  // GOTOOLCHAIN: a file that asks for a newer Go fails with a sentence instead of adding another toolchain to the image.
  install: `\
command -v go >/dev/null || fail 'the base image has no go in its PATH'
export GOENV="\${GOENV:-\${XDG_CONFIG_HOME:-\${HOME:-/root}/.config}/go/env}" XDG_CONFIG_HOME="$work/config"
export GOTOOLCHAIN=local GOCACHE="$work/go-build" GO111MODULE=on GOFLAGS=-mod=mod GOWORK=off
if [ -n "\${OW_EXECUTION_ENV:-}" ] || [ -x /bin/proxy ]; then
  modules=/home/go/pkg/mod
else
  modules=$(HOME=$(owner_home) go env GOMODCACHE)
fi
[ -n "$modules" ] || fail 'this Go is too old: it has no GOMODCACHE (Go 1.15 or newer is needed)'
mkdir "$work/module"
cp "$requirements" "$work/module/go.mod"
cd "$work/module"
GOPATH="$work/go" GOMODCACHE="$cache/mod" go mod download
own_folder "$modules"
if [ -d "$cache/mod/cache/download" ]; then
  say "go installs into $modules"
  GOPATH="$work/go" GOMODCACHE="$modules" GOPROXY="file://$cache/mod/cache/download" GONOPROXY=none GOSUMDB=off \\
    go mod download
  [ -z "$owner" ] || chown -R "$owner" "$modules"
fi
`,
};

function checkModule(text: string): string | undefined {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((line) => line.replace(/\/\/.*$/s, '').trim());
  if (!lines.some((line) => /^module(?:\s+\S|\s*\()/.test(line)))
    return `${fileName} has no "module" line: send the file that "go mod init" and "go mod tidy" write.`;
  const local = lines.findIndex((line) => /=>\s*"?(?:\.{1,2}(?:\/|$|\s|")|\/|[A-Za-z]:[\\/])/.test(line));
  if (local < 0) return undefined;
  return `${fileName}, line ${local + 1}: ${shown(lines[local] ?? '')} replaces a module by a folder, and only this file is sent: replace it by a version.`;
}
