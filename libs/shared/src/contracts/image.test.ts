import { describe, expect, test } from 'vitest';
import { imageIsUnder, imagePrefixText, parseImage, parseImagePrefix } from './image.ts';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

test.each([
  ['alpine', 'docker.io', 'library/alpine'],
  ['alpine:3.20', 'docker.io', 'library/alpine'],
  ['library/alpine', 'docker.io', 'library/alpine'],
  ['docker.io/alpine', 'docker.io', 'library/alpine'],
  ['index.docker.io/grycap/cowsay', 'docker.io', 'grycap/cowsay'],
  ['Docker.IO/grycap/cowsay', 'docker.io', 'grycap/cowsay'],
  ['docker://alpine', 'docker.io', 'library/alpine'],
  ['docker://ghcr.io/grycap/cowsay:1', 'ghcr.io', 'grycap/cowsay'],
  ['grycap/cowsay', 'docker.io', 'grycap/cowsay'],
  ['localhost/x', 'localhost', 'x'],
  ['localhost:5000/team/x:1.0', 'localhost:5000', 'team/x'],
  ['[::1]:5000/x', '[::1]:5000', 'x'],
  ['10.0.0.7:5000/x', '10.0.0.7:5000', 'x'],
  ['GHCR.io/grycap/cowsay', 'ghcr.io', 'grycap/cowsay'],
  [`ghcr.io/grycap/cowsay:1@${digest}`, 'ghcr.io', 'grycap/cowsay'],
  ['ghcr.io/a_b/c__d/e--f.g', 'ghcr.io', 'a_b/c__d/e--f.g'],
  ['evil.example/ghcr.io/grycap/cowsay', 'evil.example', 'ghcr.io/grycap/cowsay'],
])('%s is %s %s', (text, registry, repository) => {
  const image = parseImage(text);
  expect(image?.registry).toBe(registry);
  expect(image?.repository.join('/')).toBe(repository);
});

test('tag and digest are kept apart', () => {
  expect(parseImage(`localhost:5000/x:v1@${digest}`)).toEqual({
    registry: 'localhost:5000',
    repository: ['x'],
    tag: 'v1',
    digest,
  });
});

test.each([
  '',
  '/',
  'ghcr.io',
  'ghcr.io/',
  '/alpine',
  'ghcr.io//x',
  'ghcr.io/x/',
  'ghcr.io/Grycap/x',
  'Grycap/x',
  'ghcr.io/../x',
  'ghcr.io/./x',
  'ghcr.io/%2e%2e/x',
  'ghcr.io/x:',
  'ghcr.io/x:-1',
  'ghcr.io/x:a b',
  'ghcr.io/x:1@sha256:abc',
  'ghcr.io/x@',
  `ghcr.io/x@${digest}@${digest}`,
  'ghcr.io:99999/x',
  'ghcr.io:0/x',
  'ghcr.io:80:90/x',
  'user@ghcr.io/x',
  'user:pass@ghcr.io/x',
  'https://ghcr.io/x',
  'docker://docker://alpine',
  'ghcr.io\\grycap\\x',
  'ghcr.io/x?y=1',
  'ghcr.io/x#y',
  'ghcr.io/grycap/x\n',
  'ghcr.io/grycap\0/x',
  'ghcr.io/gryсap/x',
  '-ghcr.io/x',
  'ghcr..io/x',
  '_/x',
  'x_',
  '0123456789abcdef'.repeat(4),
  digest,
  `docker://${digest}`,
  // Engines look for ids by their beginning, too.
  'sha256:0123abcd',
  `ghcr.io/${'a'.repeat(260)}`,
  `${'a/'.repeat(100_000)}a`,
])('%j is no image', (text) => {
  expect(parseImage(text)).toBeUndefined();
});

describe('prefixes', () => {
  test.each([
    ['ghcr.io', 'ghcr.io'],
    ['ghcr.io/', 'ghcr.io'],
    ['ghcr.io/grycap', 'ghcr.io/grycap'],
    ['docker://ghcr.io/grycap/', 'ghcr.io/grycap'],
    ['grycap', 'docker.io/grycap'],
    ['docker.io', 'docker.io'],
    ['Index.Docker.io/library', 'docker.io/library'],
    ['localhost:5000', 'localhost:5000'],
  ])('%s is %s', (text, expected) => {
    const prefix = parseImagePrefix(text);
    expect(prefix === undefined ? undefined : imagePrefixText(prefix)).toBe(expected);
  });

  test.each([
    '',
    '/',
    '//',
    'ghcr.io//',
    'ghcr.io/x:1',
    'ghcr.io/*',
    '*',
    'ghcr.io/X',
    ' ghcr.io',
    `x@${digest}`,
  ])('%j is no prefix', (text) => {
    expect(parseImagePrefix(text)).toBeUndefined();
  });

  test.each([
    ['ghcr.io/grycap/cowsay:1', 'ghcr.io/grycap', true],
    ['docker://ghcr.io/grycap/cowsay', 'ghcr.io/grycap', true],
    ['ghcr.io/grycap', 'ghcr.io/grycap', true],
    ['ghcr.io/grycap-evil/x', 'ghcr.io/grycap', false],
    ['ghcr.io/grycapevil/x', 'ghcr.io/grycap', false],
    ['ghcr.io/x', 'ghcr.io', true],
    ['ghcr.io.evil.example/x', 'ghcr.io', false],
    ['ghcr.io:5000/grycap/x', 'ghcr.io/grycap', false],
    ['evil.example/ghcr.io/grycap/x', 'ghcr.io/grycap', false],
    ['alpine', 'docker.io', true],
    ['alpine', 'docker.io/library', true],
    ['alpine', 'docker.io/library/alpine', true],
    ['alpine', 'library', true],
    // One segment is an organisation of Docker Hub, never one of its own images.
    ['alpine', 'alpine', false],
    ['grycap/cowsay', 'docker.io/library', false],
    ['registry-1.docker.io/library/alpine', 'docker.io', false],
    ['ghcr.io/x', 'ghcr.io/x/y', false],
  ])('%s under %s: %s', (text, under, expected) => {
    const image = parseImage(text);
    const prefix = parseImagePrefix(under);
    expect(image !== undefined && prefix !== undefined && imageIsUnder(image, prefix)).toBe(expected);
  });
});
