import { buildKinds } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import { describe, expect, test } from 'vitest';
import { dockerfileFor, type ImageMaking } from './dockerfile.ts';
import { recipes } from './recipes/index.ts';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
const base = `registry:5000/library/python@${digest}`;
const making: ImageMaking = { user: 'anna', base, baseUser: '', recipe: recipes.python, file: 'requests\n' };

function refusal(change: Partial<ImageMaking>): { code: string; field: string | undefined; message: string } {
  try {
    dockerfileFor({ ...making, ...change });
  } catch (error) {
    if (isAppError(error)) return { code: error.code, field: error.field, message: error.message };
    throw error;
  }
  throw new Error('it was not refused');
}

const lines = (change: Partial<ImageMaking> = {}): string[] =>
  dockerfileFor({ ...making, ...change }).dockerfile.split('\n');

test('without a file the base is named anew and nothing else', () => {
  for (const baseUser of ['', 'nobody'])
    expect(dockerfileFor({ ...making, baseUser, file: undefined })).toEqual({
      dockerfile: `FROM ${base}\n`,
      files: [],
    });
});

test('one step, by the script of the recipe, with the file beside it', () => {
  const context = dockerfileFor(making);
  expect(context.dockerfile).toBe(
    `FROM ${base}\n` +
      'RUN --mount=type=bind,target=/.sluice-build/context' +
      ' --mount=type=cache,id=sluice-python,target=/.sluice-build/cache,sharing=shared' +
      ' ["/bin/sh","/.sluice-build/context/install.sh"]\n',
  );
  expect(context.files.map(({ name }) => name)).toEqual(['requirements.txt', 'install.sh']);
  expect(context.files[0]?.text).toBe('requests\n');
});

describe('the user', () => {
  test.each(['', 'root', '0', 'root:root', '0:0', '0:1000'])(
    '%j is root: USER is not touched',
    (baseUser) => {
      const built = dockerfileFor({ ...making, baseUser }).dockerfile;
      expect(built).not.toContain('USER');
      expect(built).toContain('["/bin/sh","/.sluice-build/context/install.sh"]');
    },
  );

  test.each(['nobody', '1000', '1000:2000', 'app_user', 'app:app-group'])('%j is restored', (baseUser) => {
    const [from, root, run, user, end] = lines({ baseUser });
    expect([from, root, user, end]).toEqual([`FROM ${base}`, 'USER 0', `USER ${baseUser}`, '']);
    expect(run).toMatch(new RegExp(`^RUN .*"${baseUser}"\\]$`));
  });

  test.each([
    'a b',
    'a\nRUN x',
    'a"',
    "a'",
    '$X',
    '${X}',
    ':x',
    'a:',
    'a:b:c',
    '-x',
    'a\\',
    ' ',
    'a'.repeat(65),
  ])('%j is refused', (baseUser) => {
    expect(refusal({ baseUser })).toMatchObject({ code: 'invalid_input', field: 'source' });
    expect(refusal({ baseUser, file: undefined })).toMatchObject({ code: 'invalid_input' });
  });
});

describe('the base', () => {
  test('a tag beside the digest and other spellings of Docker Hub fall away', () => {
    expect(lines({ base: `registry:5000/library/python:3@${digest}` })[0]).toBe(`FROM ${base}`);
    expect(lines({ base: `docker://python:3.13@${digest}` })[0]).toBe(
      `FROM docker.io/library/python@${digest}`,
    );
  });

  test.each([
    '',
    'python',
    'python:3.13',
    `python@sha256:${'0'.repeat(63)}`,
    `python@sha512:${'0'.repeat(128)}`,
    `python@${digest} AS x`,
    `python@${digest}\nRUN x`,
    `"python"@${digest}`,
    `--platform=x python@${digest}`,
    `$BASE@${digest}`,
    `python\\@${digest}`,
    `@${digest}`,
    'scratch',
  ])('%j is refused', (wrong) => {
    expect(refusal({ base: wrong })).toMatchObject({ code: 'invalid_input', field: 'source' });
  });
});

test('a file that the recipe refuses is never built', () => {
  expect(refusal({ file: '-e .' })).toMatchObject({ code: 'unprocessable', field: 'file' });
  expect(refusal({ recipe: recipes.dotnet, file: '{}' })).toMatchObject({ code: 'unprocessable' });
  expect(dockerfileFor({ ...making, recipe: recipes.dotnet, file: undefined }).files).toEqual([]);
});

test('an image that brings Maven is mounted for java and for nothing else', () => {
  const toolImage = 'registry:5000/tools/maven:3';
  const pom =
    '<project><modelVersion>4.0.0</modelVersion><artifactId>a</artifactId><version>1</version></project>';
  const mount = `--mount=type=bind,from=${toolImage},target=/.sluice-build/tools`;
  expect(lines({ recipe: recipes.java, file: pom, toolImage })[1]).toContain(` ${mount} `);
  expect(lines({ recipe: recipes.java, file: pom })[1]).not.toContain('from=');
  expect(lines({ toolImage })[1]).not.toContain('from=');
  for (const wrong of ['a,b', 'a b', '', 'a\nb'])
    expect(refusal({ recipe: recipes.java, file: pom, toolImage: wrong })).toMatchObject({
      code: 'invalid_input',
      field: 'toolImage',
    });
});

test('nothing of a file gets into the Dockerfile or the script', () => {
  const marker = 'zzmarker';
  const files: Partial<Record<string, string>> = {
    python: marker,
    nodejs: JSON.stringify({ dependencies: { [marker]: '1' } }),
    go: `module ${marker}`,
    java: `<project><modelVersion>4.0.0</modelVersion><artifactId>${marker}</artifactId><version>1</version></project>`,
    php: JSON.stringify({ require: { [`${marker}/x`]: '1' } }),
    ruby: `source 'https://rubygems.org'\ngem '${marker}'`,
  };
  for (const kind of buildKinds.filter((kind) => kind !== 'dotnet')) {
    const context = dockerfileFor({
      user: 'anna',
      base,
      baseUser: '',
      recipe: recipes[kind],
      file: files[kind],
    });
    expect(context.files.find(({ name }) => name === recipes[kind].fileName)?.text).toContain(marker);
    expect(context.files.find(({ name }) => name === 'install.sh')?.text).not.toContain(marker);
    expect(context.dockerfile).not.toContain(marker);
    expect(context.dockerfile).not.toContain('syntax');
  }
});

test('the step of one user is no step of another', () => {
  const text = (user: string): unknown => dockerfileFor({ ...making, user }).files.map((file) => file.text);
  expect(text('anna')).toEqual(text('anna'));
  expect(text('otto')).not.toEqual(text('anna'));
  expect(refusal({ user: 'anna\nRUN id' })).toMatchObject({ code: 'invalid_input', field: 'user' });
});
