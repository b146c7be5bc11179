import { isObject, jsonObject, shown, type Recipe } from './recipe.ts';

const fileName = 'composer.json';
const packageName = /^[a-z0-9]+(?:[_.-]+[a-z0-9]+)*\/[a-z0-9]+(?:[_.-]+[a-z0-9]+)*$/i;
/** The runtime itself: `php`, `ext-json`, `lib-curl`, `composer-runtime-api`. */
const platformName =
  /^(?:php(?:-[a-z0-9-]+)?|hhvm|(?:ext|lib)-[a-z0-9_.-]+|composer(?:-(?:plugin|runtime)-api)?)$/i;

/**
 * Composer, without plugins and scripts. A PHP action of OpenServerless gets `/phpAction/composer/vendor`, so the requirements are added to the
 * file that is there; elsewhere it is `vendor` in a folder of PHP's include path: `require 'vendor/autoload.php'` finds it from any folder.
 */
export const php: Recipe = {
  kind: 'php',
  version: 1,
  fileName,
  check: checkComposer,
  cacheVariables: { COMPOSER_CACHE_DIR: 'composer' },
  cacheSharing: 'shared',
  usesToolImage: false,
  // Composer leaves files of its own in a home folder; one that was not there before is removed.
  install: `\
command -v php >/dev/null || fail 'the base image has no php in its PATH'
command -v composer >/dev/null || fail 'the base image has no composer in its PATH: take one that has'
home=/phpAction/composer
if [ ! -d "$home" ]; then
  home=$(php -r 'foreach (explode(PATH_SEPARATOR, get_include_path()) as $p) if (($p[0] ?? "") === "/") { echo $p; break; }')
  [ -n "$home" ] || fail 'the include path of this PHP has no folder: set include_path in its php.ini'
fi
mkdir -p "$home"
cat >"$work/merge.php" <<'MERGE'
<?php
[, $from, $to] = $argv;
$read = fn ($path) => json_decode(ltrim(file_get_contents($path), "\\xEF\\xBB\\xBF"), true, 512, JSON_THROW_ON_ERROR);
$wanted = $read($from);
$merged = is_file($to) ? $read($to) : [];
foreach (['require', 'repositories'] as $member)
  if (!empty($wanted[$member])) $merged[$member] = array_merge($merged[$member] ?? [], $wanted[$member]);
foreach (['minimum-stability', 'prefer-stable'] as $member)
  if (isset($wanted[$member])) $merged[$member] = $wanted[$member];
if (empty($merged['require'])) unset($merged['require']);
file_put_contents($to, json_encode($merged ?: new stdClass(), JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES) . "\\n");
MERGE
php "$work/merge.php" "$requirements" "$home/composer.json"
user=\${HOME:-/root}
for folder in "\${COMPOSER_HOME:-$user/.composer}" "$user/.config" "$user/.config/composer" "$user/.local" "$user/.local/share" "$user/.local/share/composer"; do
  [ -d "$folder" ] || printf '%s\\n' "$folder" >>"$work/made"
done
say "composer installs into $home/vendor"
cd "$home"
COMPOSER_ALLOW_SUPERUSER=1 composer update --no-dev --no-plugins --no-scripts --no-interaction --no-progress --optimize-autoloader
if [ -f "$work/made" ]; then
  while read -r folder; do rm -rf "$folder"; done <"$work/made"
fi
`,
};

function checkComposer(text: string): string | undefined {
  const file = jsonObject(fileName, text);
  if (typeof file === 'string') return file;
  return requireFault(file.require) ?? repositoriesFault(file.repositories);
}

function requireFault(packages: unknown): string | undefined {
  // PHP writes an empty map as [].
  if (packages === undefined || (Array.isArray(packages) && packages.length === 0)) return undefined;
  if (!isObject(packages))
    return `${fileName}: "require" has to be an object: { "vendor/package": "version" }.`;
  for (const [name, version] of Object.entries(packages)) {
    if (!packageName.test(name) && !platformName.test(name))
      return `${fileName}: ${shown(name)} in "require" is no package: write "vendor/package".`;
    if (typeof version !== 'string')
      return `${fileName}: the version of ${shown(name)} in "require" has to be a string.`;
  }
  return undefined;
}

function repositoriesFault(repositories: unknown): string | undefined {
  if (repositories === undefined) return undefined;
  if (typeof repositories !== 'object' || repositories === null)
    return `${fileName}: "repositories" has to be a list.`;
  for (const repository of Object.values(repositories) as unknown[]) {
    const type = isObject(repository) ? repository.type : undefined;
    if (type === 'path' || type === 'artifact')
      return `${fileName}: a repository of the type "${type}" is a folder, and only this file is sent: name an address.`;
  }
  return undefined;
}
