import { shown, type Recipe } from './recipe.ts';

const fileName = 'Gemfile';

/** Bundler, into the system's gems, which `require` finds without Bundler. Groups `development` and `test` are left out. */
export const ruby: Recipe = {
  kind: 'ruby',
  version: 1,
  fileName,
  check: checkGemfile,
  cacheVariables: { BUNDLE_USER_CACHE: 'bundle', GEM_SPEC_CACHE: 'specs' },
  // Bundler keeps no lock on its global cache of gems.
  cacheSharing: 'locked',
  usesToolImage: false,
  install: `\
command -v ruby >/dev/null || fail 'the base image has no ruby in its PATH'
command -v bundle >/dev/null || fail 'the base image has no bundle in its PATH: take one that has Bundler'
mkdir "$work/gems"
cp "$requirements" "$work/gems/Gemfile"
cd "$work/gems"
unset BUNDLE_PATH BUNDLE_DEPLOYMENT BUNDLE_FROZEN BUNDLE_ONLY
export BUNDLE_GEMFILE="$work/gems/Gemfile" BUNDLE_WITHOUT=development:test BUNDLE_GLOBAL_GEM_CACHE=true \\
  BUNDLE_SILENCE_ROOT_WARNING=true BUNDLE_PATH__SYSTEM=true
gems=$(gem env gemdir)
say "bundler installs into $gems"
: >"$work/begun"
bundle install
[ ! -d "$gems/cache" ] || find "$gems/cache" -name '*.gem' -newer "$work/begun" -exec rm -f {} +
`,
};

function checkGemfile(text: string): string | undefined {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((line) => line.replace(/(?:^|\s)#.*$/s, '').trim());
  const fault = (at: number, why: string): string =>
    `${fileName}, line ${at + 1}: ${shown(lines[at] ?? '')} ${why}`;
  const local = lines.findIndex((line) => /^path\b|\bpath:|:path\s*=>/.test(line));
  if (local >= 0) return fault(local, 'names a folder, and only this file is sent: publish the gem.');
  const other = lines.findIndex((line) => /^(?:gemspec|eval_gemfile)\b/.test(line));
  if (other >= 0) return fault(other, 'reads another file, and only this one is sent: list the gems.');
  if (!lines.some((line) => /^gem(?:\s|\()/.test(line)))
    return `${fileName} names no gem: write lines such as gem 'rack', '~> 3.0'.`;
  if (!lines.some((line) => /^source(?:\s|\()/.test(line)))
    return `${fileName} has no "source" line, so Bundler would find no gem.`;
  return undefined;
}
