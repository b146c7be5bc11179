import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Compile } from 'typebox/schema';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fdlJsonSchema } from './json-schema.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const validator = Compile(fdlJsonSchema());

/** As an editor sees it: aliases and merge keys followed. */
const errorsOf = (text: string): string[] => {
  const [, errors] = validator.Errors(parse(text, { merge: true }));
  return errors.map(({ instancePath, message }) => `${instancePath}: ${message}`);
};

const exampleFiles = globSync('examples/*/*.yaml', {
  cwd: root,
  exclude: (at) => at.includes('node_modules'),
});
const pages = globSync(['README.md', 'docs/*.md', 'examples/**/*.md'], { cwd: root });
const blocks = pages.flatMap((page) =>
  [...readFileSync(`${root}/${page}`, 'utf8').matchAll(/^```ya?ml\n([\s\S]*?)^```$/gm)].map(
    ([, text = '']) => [page, text] as const,
  ),
);

describe('the schema', () => {
  it('takes every example', () => {
    expect(exampleFiles.length).toBeGreaterThanOrEqual(3);
    for (const file of exampleFiles)
      expect(errorsOf(readFileSync(`${root}/${file}`, 'utf8')), file).toEqual([]);
  });

  it('takes every definition in the docs', () => {
    const definitions = blocks.filter(([, text]) => text.includes('functions:'));
    expect(definitions.length).toBeGreaterThanOrEqual(2);
    for (const [page, text] of definitions) expect(errorsOf(text), page).toEqual([]);
  });

  const service = (...lines: string[]): string =>
    [
      'functions:',
      '  oscar:',
      '  - c:',
      ...['name: a', 'image: i', 'script: s', ...lines].map((line) => `      ${line}`),
    ].join('\n');

  it.each([
    [['cpu: 1.0', 'memory: 512', 'enable_gpu: yes']],
    [['environment: {Variables: {A: 1, B: , C: true}, secrets: {K: v}}']],
    [['expose: {api_port: 80, nodePort: [0]}', 'sluice: {timeout: 60, max_concurrency: "2"}']],
    [['kserve: {any: [thing]}', 'log_level: LOUD', 'memory:', 'input:']],
    [['storage_providers: {minio: {x: {endpoint: "https://e", verify: True, region: }}}']],
  ])('takes what the client takes: %j', (lines) => {
    expect(errorsOf(service(...lines))).toEqual([]);
  });

  const build = 'build: {source: "python:3.11-slim", kind: python, file: requirements.txt, rebuild: base}';
  it('takes a build in the place of an image, and not both', () => {
    expect(errorsOf(service(build).replace('      image: i\n', ''))).toEqual([]);
    expect(errorsOf(service(build))).not.toEqual([]);
    expect(errorsOf(service('build: {source: a, kind: go}').replace('      image: i\n', ''))).not.toEqual([]);
  });

  it.each([
    ['no functions', 'clusters: {}'],
    ['nothing below oscar', 'functions: {oscar: []}'],
    ['neither image nor build', 'functions: {oscar: [c: {name: a, script: s}]}'],
    ['no script', 'functions: {oscar: [c: {name: a, image: i}]}'],
    ['a list for text', service('memory: [1]')],
    ['an unknown key', service('memroy: 1Gi')],
    ['a path without a bucket', service('input: [{storage_provider: minio, path: /}]')],
    ['an input without a provider', service('input: [{path: a/b}]')],
    ['a flag that is none', service('enable_gpu: maybe')],
    ['a number out of range', service('sluice: {script_retries: 11}')],
    ['a port out of range', service('expose: {api_port: 70000}')],
    ['a name that is too long', service(`vo: x`).replace('name: a', `name: ${'a'.repeat(40)}`)],
  ])('does not take %s', (_, text) => {
    expect(errorsOf(text)).not.toEqual([]);
  });

  it('says what each key means', () => {
    const bare: string[] = [];
    const walk = (value: unknown, at: string): void => {
      if (typeof value !== 'object' || value === null) return;
      const properties =
        (value as { properties?: Record<string, { description?: string }> }).properties ?? {};
      for (const [key, own] of Object.entries(properties))
        if (own.description === undefined) bare.push(`${at}.${key}`);
      for (const [key, child] of Object.entries(value)) walk(child, `${at}.${key}`);
    };
    walk(fdlJsonSchema(), '');
    expect(bare).toEqual([]);
  });
});
