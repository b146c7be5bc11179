import type { Recipe } from './recipe.ts';

const fileName = 'pom.xml';

/**
 * Maven copies the jars that the file's runtime needs into `/usr/java/lib/ext`. The class path of a Java action of OpenServerless is fixed to
 * `launcher.jar`, whose manifest gets to name them (javac and java both go by it); elsewhere a program names the folder: `-cp '/usr/java/lib/ext/*'`.
 *
 * Maven comes with the base, or from the tool image, mounted for the step, and runs on the base's own Java.
 */
export const java: Recipe = {
  kind: 'java',
  version: 1,
  fileName,
  check: checkProject,
  cacheVariables: {},
  // Maven 3 has no lock on its local repository.
  cacheSharing: 'locked',
  usesToolImage: true,
  // Older manifest readers refuse long lines: one jar a line, each going on the one before (a space in front).
  install: `\
command -v java >/dev/null || [ -x "\${JAVA_HOME:-/nowhere}/bin/java" ] || fail 'the base image has no java in its PATH'
if command -v mvn >/dev/null; then mvn=mvn
elif [ -n "$tools" ] && [ -x "$tools/usr/share/maven/bin/mvn" ]; then
  mvn=$tools/usr/share/maven/bin/mvn
  unset M2_HOME MAVEN_HOME
else
  fail 'the base image has no mvn in its PATH, and the builder has no image that brings Maven'
fi
mkdir "$work/project" "$work/jars"
cp "$requirements" "$work/project/pom.xml"
cd "$work/project"
"$mvn" --batch-mode --no-transfer-progress -Dmaven.repo.local="$cache/m2" \\
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \\
  -DincludeScope=runtime -DoutputDirectory="$work/jars"
jars=/usr/java/lib/ext
mkdir -p "$jars"
for jar in "$work"/jars/*.jar; do
  [ ! -f "$jar" ] || cp "$jar" "$jars/"
done
launcher=/usr/java/lib/launcher.jar
: >"$work/manifest"
for jar in "$jars"/*.jar; do
  [ ! -f "$jar" ] || printf ' ext/%s\\n ' "\${jar##*/}" >>"$work/manifest"
done
if [ -f "$launcher" ] && [ -s "$work/manifest" ]; then
  program=jar
  [ ! -x "\${JAVA_HOME:-/nowhere}/bin/jar" ] || program=$JAVA_HOME/bin/jar
  { printf 'Class-Path:'; cat "$work/manifest"; printf '\\n'; } >"$work/class-path"
  "$program" ufm "$launcher" "$work/class-path"
fi
say "maven installed into $jars"
`,
};

function checkProject(text: string): string | undefined {
  const bare = withoutComments(text.replace(/^\uFEFF/, '')).trim();
  if (/<!(?:DOCTYPE|ENTITY)/i.test(bare))
    return `${fileName} has a document type, which Maven doesn't need: remove it.`;
  if (!/^(?:<\?xml[^>]*\?>\s*)?<project[\s>][\s\S]*<\/project>$/.test(bare))
    return `${fileName} is no Maven project: it has to be one <project> … </project> element.`;
  const missing = ['modelVersion', 'artifactId', 'version'].find((name) => !bare.includes(`<${name}>`));
  if (missing !== undefined) return `${fileName} has no <${missing}>, which Maven needs.`;
  if (/<modules>\s*<module>/.test(bare))
    return `${fileName} has <modules>, which name folders, and only this file is sent: list the dependencies themselves.`;
  if (bare.includes('<systemPath>'))
    return `${fileName} has a <systemPath>, which names a local file, and only this file is sent: name a dependency of a repository.`;
  return undefined;
}

/** No regular expression: one would begin anew at every `<!--` of a text that never closes one. */
function withoutComments(text: string): string {
  const [first = '', ...rest] = text.split('<!--');
  const kept = rest.map((part) => {
    const end = part.indexOf('-->');
    return end < 0 ? '' : part.slice(end + '-->'.length);
  });
  return [first, ...kept].join('');
}
