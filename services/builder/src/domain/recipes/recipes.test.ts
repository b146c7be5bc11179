import { buildKinds } from '@sluice/shared/contracts';
import { describe, expect, test } from 'vitest';
import { recipes } from './index.ts';

const good: Readonly<Record<string, readonly string[]>> = {
  python: [
    '',
    'requests==2.32.0\n',
    '# a comment\nnumpy>=1.26,<3 ; python_version < "3.13"  # why\r\n\r\nuvicorn[standard]~=0.30\n',
    '--index-url https://index.example/simple\n--extra-index-url=https://other.example/simple\nx\n',
    '-i https://index.example/simple\n--no-binary :all:\n--pre\nx==1 \\\n  --hash=sha256:abc\n',
    'pkg @ https://files.example/pkg-1.0-py3-none-any.whl\ngit+https://git.example/a/b@v1\n',
    'zope.interface\nedit-distance\nrequests-e\nzipp\n',
  ],
  nodejs: [
    '{}',
    '\uFEFF{"name":"x","dependencies":{"left-pad":"^1.3.0"},"scripts":{"postinstall":"x"},"type":"module"}',
    '{"dependencies":{"a":"npm:b@1","c":"https://files.example/c.tgz","d":"git+https://git.example/d.git","e":"*"}}',
  ],
  go: [
    'module example.com/a\n\ngo 1.21\n\nrequire rsc.io/quote v1.5.2\n',
    '// comment\nmodule "a" // x\nreplace example.com/x => example.com/y v1.0.0\n',
    'module a\nreplace (\n\texample.com/x v1.2.3 => example.com/z v1.0.0\n)\n',
  ],
  java: [
    '<?xml version="1.0"?>\n<!-- c -->\n<project xmlns="x"><modelVersion>4.0.0</modelVersion><groupId>a</groupId><artifactId>b</artifactId><version>1</version></project>\n',
  ],
  php: [
    '{}',
    '{"require":{"php":">=8.1","ext-json":"*","monolog/monolog":"^3"},"repositories":[{"type":"vcs","url":"https://git.example/a"},{"packagist.org":false}]}',
    '{"require":[]}',
  ],
  ruby: ["source 'https://rubygems.org'\n\ngem 'rack', '~> 3.0' # path: no\n"],
};

const bad: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  python: [
    ['x\n-e .\n', 'requirements.txt, line 2: "-e ." names another file'],
    ['--editable=git+https://a.example/b', 'line 1'],
    ['-r other.txt', 'names another file'],
    ['-rother.txt', 'names another file'],
    ['--requirement other.txt', 'names another file'],
    ['-c limits.txt', 'names another file'],
    ['\n\nx \\\n  --hash=sha256:a\n./pkg', 'line 5: "./pkg" names a local path'],
    ['/opt/pkg', 'local path'],
    ['..\\pkg', 'local path'],
    ['C:\\pkg', 'local path'],
    ['file:///opt/pkg', 'local path'],
    ['pkg @ file:///opt/pkg', 'local path'],
    ['pkg-1.0-py3-none-any.whl', 'local path'],
    ['pkg-1.0.tar.gz ; python_version > "3"', 'local path'],
    ['--index-url file:///srv/index', 'no http(s) address'],
    ['--find-links=/srv/wheels', 'no http(s) address'],
    ['-f wheels', 'no http(s) address'],
  ],
  nodejs: [
    ['', 'package.json is not JSON'],
    ['[]', 'has to be a JSON object'],
    ['"x"', 'has to be a JSON object'],
    ['{"dependencies":["a"]}', '"dependencies" has to be an object'],
    ['{"dependencies":{"a":1}}', 'the version of "a" in "dependencies" has to be a string'],
    ['{"dependencies":{"a":"file:../a"}}', '"a" is "file:../a", a local path'],
    ['{"optionalDependencies":{"a":"./a"}}', 'local path'],
    ['{"dependencies":{"a":"workspace:*"}}', 'local path'],
    ['{"workspaces":["x"]}', '"workspaces" names folders'],
  ],
  go: [
    ['', 'no "module" line'],
    ['require x v1.0.0', 'no "module" line'],
    ['// module a', 'no "module" line'],
    ['module a\nreplace b => ../b\n', 'go.mod, line 2: "replace b => ../b" replaces a module by a folder'],
    ['module a\nreplace (\n\tb v1.0.0 => /src/b\n)', 'line 3'],
    ['module a\nreplace b => "./b"', 'line 2'],
  ],
  java: [
    ['', 'no Maven project'],
    ['{}', 'no Maven project'],
    ['<projects></projects>', 'no Maven project'],
    ['<project><modelVersion>4.0.0</modelVersion>', 'no Maven project'],
    ['<project></project>', 'no <modelVersion>'],
    ['<project><modelVersion>4.0.0</modelVersion><artifactId>a</artifactId></project>', 'no <version>'],
    ['<!DOCTYPE x [<!ENTITY a "b">]><project></project>', 'document type'],
    [
      '<project><modelVersion>4.0.0</modelVersion><artifactId>a</artifactId><version>1</version><modules>\n<module>x</module></modules></project>',
      '<modules>',
    ],
    [
      '<project><modelVersion>4.0.0</modelVersion><artifactId>a</artifactId><version>1</version><dependencies><dependency><systemPath>/a</systemPath></dependency></dependencies></project>',
      '<systemPath>',
    ],
  ],
  php: [
    ['x', 'composer.json is not JSON'],
    ['[]', 'has to be a JSON object'],
    ['{"require":"x"}', '"require" has to be an object'],
    ['{"require":{"--plugin":"*"}}', '"--plugin" in "require" is no package'],
    ['{"require":{"a/b":{}}}', 'the version of "a/b" in "require" has to be a string'],
    ['{"repositories":[{"type":"path","url":"/srv"}]}', 'of the type "path" is a folder'],
    ['{"repositories":{"a":{"type":"artifact","url":"/srv"}}}', 'of the type "artifact" is a folder'],
    ['{"repositories":"x"}', '"repositories" has to be a list'],
  ],
  ruby: [
    ['', 'names no gem'],
    ['# gem "x"', 'names no gem'],
    ["gem 'rack'", 'no "source" line'],
    ["source 'https://rubygems.org'\ngem 'a', path: '../a'", 'Gemfile, line 2: '],
    ["source 'https://rubygems.org'\ngem 'a', :path => '../a'", 'names a folder'],
    ["source 'https://rubygems.org'\ngemspec", 'reads another file'],
    ["source 'https://rubygems.org'\neval_gemfile 'x'", 'reads another file'],
  ],
  dotnet: [
    ['{"dependencies":{}}', 'no .NET SDK reads any more'],
    ['', 'no .NET SDK reads any more'],
  ],
};

test('every kind has its recipe, under its own name', () => {
  expect(Object.keys(recipes).sort()).toEqual([...buildKinds].sort());
  for (const kind of buildKinds) expect(recipes[kind].kind).toBe(kind);
});

test('file names are those that runtimes look for', () => {
  expect(buildKinds.map((kind) => recipes[kind].fileName)).toEqual([
    'requirements.txt',
    'package.json',
    'go.mod',
    'pom.xml',
    'composer.json',
    'Gemfile',
    'project.json',
  ]);
});

describe.each(buildKinds)('%s', (kind) => {
  test('files that are worth a try', () => {
    for (const text of good[kind] ?? []) expect(recipes[kind].check(text), text).toBeUndefined();
    expect(good[kind]?.length ?? 0).toBeGreaterThan(kind === 'dotnet' ? -1 : 0);
  });

  test('files that cannot be right, and why', () => {
    for (const [text, why] of bad[kind] ?? []) expect(recipes[kind].check(text), text).toContain(why);
    expect(bad[kind]?.length ?? 0).toBeGreaterThan(0);
  });

  test('a refusal shows little of a long line', () => {
    const long = `-e ${'x'.repeat(100_000)}`;
    const json = JSON.stringify({ dependencies: { x: `file:${long}` }, require: { [long]: 1 } });
    const texts = [long, json, `gem '${long}', path: 'x'`, `module a\nreplace ${long} => ./x`];
    for (const text of texts) expect((recipes[kind].check(text) ?? '').length).toBeLessThan(600);
  });

  test('hostile text costs no time', () => {
    const size = 512 * 1024;
    const texts = [' ', '\\', '\\\n', '<!--', '-', 'a', '(', '=> ', '<project>', ' #', '@ '].map((part) =>
      part.repeat(size / part.length),
    );
    // Lines whose end `.` does not reach.
    for (const part of [' #', '//', ' //']) texts.push(`${part.repeat(size / part.length)}\u2028x`);
    texts.push(`-i${' '.repeat(size)}x\u2028x`);
    texts.push(JSON.stringify({ dependencies: {}, require: { [`${'a'.repeat(size)}!`]: '1' } }));
    const begun = process.cpuUsage().user;
    for (const text of texts) recipes[kind].check(text);
    expect(process.cpuUsage().user - begun).toBeLessThan(5_000_000);
  });
});
