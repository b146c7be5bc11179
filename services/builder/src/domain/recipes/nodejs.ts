import { isObject, jsonObject, shown, type Recipe } from './recipe.ts';

const fileName = 'package.json';
/** Members whose packages are installed. */
const installed = ['dependencies', 'optionalDependencies'] as const;
const localSpec = /^(?:file:|link:|portal:|workspace:|\.{1,2}(?:\/|$)|~?\/)/i;

/**
 * npm, without the scripts of packages: they would run as root in the build, and most packages bring their programs built.
 *
 * Only the dependencies of the file count and are added to a `package.json` that is there already: `type: module` in /app would change what
 * an OpenServerless action below it is. `/app/node_modules` comes first for such an action; elsewhere `/node_modules` is found from any folder.
 */
export const nodejs: Recipe = {
  kind: 'nodejs',
  version: 1,
  fileName,
  check: checkPackage,
  cacheVariables: { npm_config_cache: 'npm' },
  cacheSharing: 'shared',
  usesToolImage: false,
  // npm can't work in / itself ("Tracker idealTree already exists"), so what is there is moved away and back.
  install: `\
command -v node >/dev/null || fail 'the base image has no node in its PATH'
command -v npm >/dev/null || fail 'the base image has no npm in its PATH: take one that has, such as node:24-slim'
home=
[ ! -d /app ] || home=/app
project=/app
if [ -z "$home" ]; then
  project=$work/project
  mkdir "$project"
  for name in package.json node_modules; do
    [ ! -e "/$name" ] || mv "/$name" "$project/"
  done
fi
cat >"$work/merge.cjs" <<'MERGE'
const { readFileSync, writeFileSync } = require('node:fs');
const [, , from, to] = process.argv;
const read = (path) => JSON.parse(readFileSync(path, 'utf8').replace(/^\\uFEFF/, ''));
const wanted = read(from);
let merged = { private: true };
try {
  merged = read(to);
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
}
for (const member of ['dependencies', 'optionalDependencies', 'overrides'])
  if (wanted[member]) merged[member] = { ...merged[member], ...wanted[member] };
writeFileSync(to, JSON.stringify(merged, null, 2) + '\\n');
MERGE
node "$work/merge.cjs" "$requirements" "$project/package.json"
say "npm installs into $home/node_modules"
cd "$project"
npm install --omit=dev --ignore-scripts --no-audit --no-fund --no-package-lock --no-update-notifier --loglevel=warn
if [ -z "$home" ]; then
  for name in package.json node_modules; do
    [ ! -e "$project/$name" ] || mv "$project/$name" "/$name"
  done
elif [ -d /app/node_modules ] && [ ! -e /node_modules ]; then
  ln -s /app/node_modules /node_modules
fi
`,
};

function checkPackage(text: string): string | undefined {
  const file = jsonObject(fileName, text);
  if (typeof file === 'string') return file;
  if (file.workspaces !== undefined)
    return `${fileName}: "workspaces" names folders, and only this file is sent: list the packages in "dependencies".`;
  for (const member of installed) {
    const packages = file[member];
    if (packages === undefined) continue;
    if (!isObject(packages)) return `${fileName}: "${member}" has to be an object: { "name": "version" }.`;
    for (const [name, spec] of Object.entries(packages)) {
      if (typeof spec !== 'string')
        return `${fileName}: the version of ${shown(name)} in "${member}" has to be a string.`;
      if (localSpec.test(spec.trim()))
        return `${fileName}: ${shown(name)} is ${shown(spec)}, a local path, and only this file is sent: publish the package, or name an address of it.`;
    }
  }
  return undefined;
}
