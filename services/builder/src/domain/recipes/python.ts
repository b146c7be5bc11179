import { shown, type Recipe } from './recipe.ts';

const fileName = 'requirements.txt';
/** Options of a requirements file that name files beside it, which never travel with it. */
const fileOptions = /^(?:-e|--editable|-r|--requirement|-c|--constraint)(?:[\s=]|$)/;
/** `-r x` may also be written `-rx`. */
const gluedFileOption = /^-[erc][^\s=-]/;
/** Dot-all, as below: a `.` that stops at U+2028 would have the rest tried again from every place, for hours in a file of some megabytes. */
const indexOptions = /^(?:-i|--index-url|--extra-index-url|-f|--find-links)(?:[\s=]+)(.*)$/s;
const remote = /^https?:\/\//i;
/** A path: `./x`, `../x`, `/x`, `~/x`, `C:\x`, or `name @ file:…`. */
const localPath = /^(?:\.{1,2}(?:[/\\]|$)|[/~\\]|[A-Za-z]:[/\\]|file:)|@\s*(?:file:|[./~])/i;
/** A file that pip would look for in the folder of the build. */
const localArchive = /^[^\s@]+\.(?:whl|tar\.gz|tgz|zip)(?:[\s;[]|$)/i;

/** pip or uv, whichever the base has, into the system's site-packages. */
export const python: Recipe = {
  kind: 'python',
  version: 2,
  fileName,
  check: checkRequirements,
  cacheVariables: { PIP_CACHE_DIR: 'pip', UV_CACHE_DIR: 'uv' },
  cacheSharing: 'shared',
  usesToolImage: false,
  // PEP 668: the image is the environment, so a base that is marked as managed by its distribution is changed all the same.
  // Official images come without bytecode: pip's own is kept in the cache, or each build would compile all of pip first. That of the packages is made at the end,
  // valid by the hash of its source: times are rewritten when the image is exported, and the same file has to give the same image.
  // Base images are mostly slim and have no compiler: an older wheel is better than a newer source.
  install: `\
: >"$work/begun"
export PYTHONPYCACHEPREFIX="$cache/bytecode"
python=$(command -v python3 || command -v python) || fail 'the base image has no python3 in its PATH'
if command -v uv >/dev/null 2>&1; then
  say "uv installs into $python"
  UV_LINK_MODE=copy UV_BREAK_SYSTEM_PACKAGES=1 UV_NO_PROGRESS=1 \\
    uv pip install --python "$python" --system --requirement "$requirements"
elif "$python" -m pip --version >/dev/null 2>&1; then
  say "pip installs into $python"
  PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 \\
    PIP_PREFER_BINARY=1 PIP_USER=0 PIP_PROGRESS_BAR=off \\
    "$python" -m pip install --no-compile --requirement "$requirements"
else
  fail 'the base image has neither pip nor uv: take one that has, such as python:3.13-slim'
fi
if command -v find >/dev/null 2>&1; then
  "$python" -c 'import sysconfig; paths = sysconfig.get_paths(); print("\\n".join({paths["purelib"], paths["platlib"]}))' |
    while IFS= read -r folder; do find "$folder" -name '*.py' -newer "$work/begun"; done |
    (
      unset PYTHONPYCACHEPREFIX
      PYTHONDONTWRITEBYTECODE=1 "$python" -m compileall -q -j 0 --invalidation-mode checked-hash -i - >/dev/null || :
    )
fi
`,
};

function checkRequirements(text: string): string | undefined {
  for (const { number, line } of logicalLines(text)) {
    const why = lineFault(line);
    if (why !== undefined) return `${fileName}, line ${number}: ${shown(line)} ${why}`;
  }
  return undefined;
}

function lineFault(line: string): string | undefined {
  if (fileOptions.test(line) || gluedFileOption.test(line))
    return 'names another file, and only this one is sent: write the packages themselves.';
  const index = indexOptions.exec(line)?.[1];
  if (index !== undefined && !remote.test(index.trim()))
    return 'names an index that is no http(s) address: the build sees no other folder or file.';
  if (localPath.test(line) || localArchive.test(line))
    return 'names a local path, and only this file is sent: publish the package, or name an address of it.';
  return undefined;
}

/** Lines without comments and blanks, those that end in a backslash joined to the next, with the number that they begin at. */
function logicalLines(text: string): readonly { readonly number: number; readonly line: string }[] {
  const lines: { number: number; line: string }[] = [];
  let open: { number: number; line: string } | undefined;
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .entries()) {
    const begun: { number: number; line: string } = open ?? { number: index + 1, line: '' };
    const goesOn = raw.endsWith('\\') && !/^\s*#/.test(raw);
    begun.line += goesOn ? `${raw.slice(0, -1)} ` : raw;
    open = goesOn ? begun : undefined;
    if (!goesOn) lines.push(begun);
  }
  if (open !== undefined) lines.push(open);
  return lines
    .map(({ number, line }) => ({ number, line: line.replace(/(?:^|\s)#.*$/s, '').trim() }))
    .filter(({ line }) => line !== '');
}
