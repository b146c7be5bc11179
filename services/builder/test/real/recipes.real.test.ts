import type { BuildKind } from '@sluice/shared/contracts';
import { describe, expect, test } from 'vitest';
import { dockerfileFor } from '../../src/domain/dockerfile.ts';
import { recipes } from '../../src/domain/recipes/index.ts';
import {
  emptyBase,
  extendingBase,
  goBase,
  goRuntimeBase,
  javaBase,
  managedPythonBase,
  mavenImage,
  nodeBase,
  nodeRuntimeBase,
  nodeScriptBase,
  phpBase,
  phpRuntimeBase,
  pipBase,
  rubyBase,
  uvBase,
} from './recipe-bases.ts';
import { addedFiles, builtImage, check, configOf, failureOf } from './recipe-bed.ts';

interface Extended {
  readonly image: string;
  /** What the step added to the base. */
  readonly added: readonly string[];
}

/** Builds by a recipe; whatever it is, the configuration has to be the base's. */
async function extend(
  kind: BuildKind,
  base: string,
  file: string | undefined,
  toolImage?: string,
): Promise<Extended> {
  const before = await configOf(base);
  const context = dockerfileFor({
    user: 'anna',
    base,
    baseUser: before.User ?? '',
    recipe: recipes[kind],
    file,
    toolImage,
  });
  const image = await builtImage(kind, context);
  expect(await configOf(image)).toEqual(before);
  return { image, added: await addedFiles(base, image) };
}

/** Files that are not below one of these folders. */
const outside = (added: readonly string[], ...folders: readonly string[]): readonly string[] =>
  added.filter((name) => !folders.some((folder) => name.startsWith(folder)));

describe('without a file', () => {
  test('the image is its base', async () => {
    const { added } = await extend('dotnet', await pipBase(), undefined);
    expect(added).toEqual([]);
  });
});

describe('python', () => {
  const file = 'six==1.17.0\n';
  const packages = '/usr/local/lib/python3.11/dist-packages/';
  const found = ['cd /', `test "$(python3 -c 'import six; print(six.__version__)')" = 1.17.0`];

  const by = (tool: string): string =>
    `test "$(cat ${packages}six-1.17.0.dist-info/INSTALLER | tr -d '\\n')" = ${tool}`;

  test('pip, as the base’s user, found from any folder', async () => {
    const { image, added } = await extend('python', await pipBase(), file);
    expect(outside(added, packages)).toEqual([]);
    await check(image, [...found, by('pip'), 'test "$(id -un)" = nobody']);
  });

  test('a Python that its distribution manages', async () => {
    const { image, added } = await extend('python', await managedPythonBase(), file);
    expect(outside(added, packages)).toEqual([]);
    await check(image, [...found, by('pip'), 'test "$(id -u)" = 0']);
  });

  test('uv, where the base has it', async () => {
    const { image, added } = await extend('python', await uvBase(), file);
    expect(outside(added, packages)).toEqual([]);
    await check(image, [...found, by('uv'), 'test "$(id -u)" = 1000']);
  });

  test('a package that is not there fails the build and says why', async () => {
    const context = dockerfileFor({
      user: 'anna',
      base: await pipBase(),
      baseUser: 'nobody',
      recipe: recipes.python,
      file: 'six==99.99.99\n',
    });
    expect(await failureOf(context)).toContain('No matching distribution found for six==99.99.99');
  });
});

describe('nodejs', () => {
  const requires = (name: string): string => `node -e "require('${name}')"`;
  const imports = (name: string): string => `node --input-type=module -e "import '${name}'"`;

  test('a plain image: found from any folder by require and import', async () => {
    const file = '{"type":"module","dependencies":{"is-odd":"3.0.1"},"devDependencies":{"left-pad":"1.3.0"}}';
    const { image, added } = await extend('nodejs', await nodeBase(), file);
    expect(outside(added, '/node_modules/')).toEqual(['/package.json']);
    const there = ['mkdir -p /tmp/deep/er', 'cd /tmp/deep/er', requires('is-odd'), imports('is-odd')];
    await check(image, [
      'test "$(id -un)" = node',
      requires('is-odd'),
      ...there,
      `if ${requires('left-pad')}; then exit 1; fi`,
    ]);
  });

  test('packages at / stay when it is extended again; scripts of packages do not run', async () => {
    const once = await extend('nodejs', await nodeScriptBase(), '{"dependencies":{"is-odd":"3.0.1"}}');
    const twice = await extend('nodejs', once.image, '{"dependencies":{"left-pad":"1.3.0"}}');
    expect(outside(twice.added, '/node_modules/')).toEqual(['/package.json']);
    const all = ['scripted', 'is-odd', 'left-pad'].map(requires);
    await check(twice.image, ['test ! -e /script-ran', 'mkdir /tmp/deep', 'cd /tmp/deep', ...all]);
  });

  test('as OpenServerless has it: beside the runtime’s own packages, and extended again', async () => {
    const base = await nodeRuntimeBase();
    const file = '{"type":"module","main":"x.js","dependencies":{"is-odd":"3.0.1"}}';
    const once = await extend('nodejs', base, file);
    expect(outside(once.added, '/app/node_modules/')).toEqual(['/app/package.json']);
    const inAction = 'cd /app/action/1/bin';
    const action = "echo \"require('is-odd'); require('ms')\" >action.js && node action.js && rm action.js";
    await check(once.image, [inAction, action, 'test "$(id -un)" = nobody', 'test "$HOME" = /app']);

    const twice = await extend('nodejs', once.image, '{"dependencies":{"left-pad":"1.3.0"}}');
    await check(twice.image, [inAction, action, requires('left-pad')]);
  });
});

describe('go', () => {
  const file = `module example.com/extension

go 1.17

require rsc.io/quote v1.5.2

require (
	golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect
	rsc.io/sampler v1.3.0 // indirect
)
`;
  const program = [
    { name: 'go.mod', text: file },
    {
      name: 'main.go',
      text: 'package main\n\nimport (\n\t"fmt"\n\n\t"rsc.io/quote"\n)\n\nfunc main() { fmt.Println(quote.Hello()) }\n',
    },
  ];
  const compiled = [
    'cp -r /tmp/check /tmp/program && cd /tmp/program',
    'export GOPROXY=off GOSUMDB=off GOFLAGS=-mod=mod GOCACHE=/tmp/go-build',
    'go build -o /tmp/exec . && /tmp/exec',
  ];

  test('the module cache of the image’s user, enough to compile without a network', async () => {
    const { image, added } = await extend('go', await goBase(), file);
    expect(outside(added, '/home/dev/go/pkg/mod/')).toEqual([]);
    await check(image, ['test "$(id -un)" = dev', 'test -O ~/go/pkg/mod', ...compiled], program);
  });

  test('as OpenServerless has it: in the module cache of its compiler', async () => {
    const { image, added } = await extend('go', await goRuntimeBase(), file);
    expect(outside(added, '/home/go/pkg/mod/')).toEqual([]);
    await check(
      image,
      ['test "$(id -un)" = nobody', 'test -O /home/go', 'export GOPATH=/home/go', ...compiled],
      program,
    );
  });
});

describe('java', () => {
  const file = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>extension</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>com.google.code.gson</groupId><artifactId>gson</artifactId><version>2.11.0</version></dependency>
    <dependency><groupId>commons-codec</groupId><artifactId>commons-codec</artifactId><version>1.17.1</version></dependency>
  </dependencies>
</project>
`;
  const program = [
    {
      name: 'Main.java',
      text: 'public class Main { public static void main(String[] a) { System.out.println(new com.google.gson.Gson().toJson(org.apache.commons.codec.binary.Hex.encodeHexString(new byte[] {1}))); } }\n',
    },
  ];

  test('Maven of the tool image; jars that the launcher names, and a folder for all others', async () => {
    const { image, added } = await extend('java', await javaBase(), file, await mavenImage());
    expect(outside(added, '/usr/java/lib/ext/')).toEqual(['/usr/java/lib/launcher.jar']);
    await check(
      image,
      [
        'ls /usr/java/lib/ext',
        'mkdir /tmp/out && cd /tmp/out',
        'javac -cp /usr/java/lib/launcher.jar -d . /tmp/check/Main.java',
        'java -cp /usr/java/lib/launcher.jar:. Launcher Main',
        "java -cp '/usr/java/lib/ext/*:.' Main",
      ],
      program,
    );
  });

  test('without any Maven the build fails and says so', async () => {
    const context = dockerfileFor({
      user: 'anna',
      base: await javaBase(),
      baseUser: '',
      recipe: recipes.java,
      file,
    });
    expect(await failureOf(context)).toContain('sluice: the base image has no mvn in its PATH');
  });
});

describe('php', () => {
  const file = '{"require":{"sluice/greeting":"^1.0"},"scripts":{"post-update-cmd":"touch /script-ran"}}';
  const greets = (autoload: string): string =>
    `test "$(php -r "require '${autoload}'; echo Sluice\\\\Greeting\\\\Hello::say();")" = hello`;

  test('found through the include path from any folder', async () => {
    const { image, added } = await extend('php', await phpBase(), file);
    expect(outside(added, '/usr/share/php/vendor/')).toEqual([
      '/usr/share/php/composer.json',
      '/usr/share/php/composer.lock',
    ]);
    await check(image, ['cd /tmp', 'test "$(id -un)" = www-data', greets('vendor/autoload.php')]);
  });

  test('as OpenServerless has it: added to the runtime’s own requirements', async () => {
    const { image, added } = await extend('php', await phpRuntimeBase(), file);
    expect(outside(added, '/phpAction/composer/vendor/')).toEqual([
      '/phpAction/composer/composer.json',
      '/phpAction/composer/composer.lock',
    ]);
    await check(image, [
      greets('/phpAction/composer/vendor/autoload.php'),
      `grep -q '"php": ">=7"' /phpAction/composer/composer.json`,
    ]);
  });
});

describe('ruby', () => {
  test('gems of the system, found without Bundler', async () => {
    const file = "source 'https://rubygems.org'\n\ngem 'greeting', '~> 1.0'\n";
    const { image, added } = await extend('ruby', await rubyBase(), file);
    expect(outside(added, '/var/lib/gems/')).toEqual([]);
    expect(added.filter((name) => name.endsWith('.gem'))).toEqual([]);
    await check(image, [
      'cd /',
      'test "$(id -un)" = nobody',
      `test "$(ruby -e 'require "greeting"; print Greeting::HELLO')" = hello`,
    ]);
  });
});

describe('a base that extends itself', () => {
  test('is asked to; what it leaves in /tmp is removed, what the base has there stays', async () => {
    const { image, added } = await extend('python', await extendingBase(), 'six\n');
    expect(added).toEqual(['/opt/extended']);
    await check(image, [
      'test "$(cat /opt/extended)" = six',
      'test "$(ls -A /tmp)" = of-the-base',
      'test ! -e /.sluice-build',
      'test "$(id -u):$(id -g)" = 1000:1000',
    ]);
  });

  test('one that lacks the tool fails and says so, whatever its SHELL is', async () => {
    const base = await emptyBase();
    const files: Partial<Record<BuildKind, readonly [string, string]>> = {
      python: ['six', 'no python3'],
      nodejs: ['{}', 'no node'],
      go: ['module a', 'no go'],
      php: ['{}', 'no php'],
      ruby: ["source 'https://rubygems.org'\ngem 'a'", 'no ruby'],
    };
    for (const [kind, [file, why]] of Object.entries(files))
      expect(
        await failureOf(
          dockerfileFor({ user: 'anna', base, baseUser: '', recipe: recipes[kind as BuildKind], file }),
        ),
      ).toContain(`sluice: the base image has ${why} in its PATH`);
  });
});
