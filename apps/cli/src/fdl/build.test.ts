import { describe, expect, it } from 'vitest';
import { maxRequirementsBytes } from '../builds/requirements.ts';
import { parseFdl, type FdlService, type ReadScript } from './parse.ts';
import { FdlError, problemText } from './problem.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function parse(file: string, service: string, readFile: ReadScript): readonly FdlService[] {
  return parseFdl(file, bytes(`functions: {oscar: [c: {${service}}]}`), readFile).services;
}

const files: ReadScript = (file) =>
  file.endsWith('none.txt') ? { problem: 'does not exist' } : { bytes: bytes(`in ${file}`) };

function problemsOf(service: string, readFile: ReadScript = files): string[] {
  try {
    parse('fdl.yaml', service, readFile);
  } catch (error) {
    if (error instanceof FdlError) return error.problems.map(problemText);
    throw error;
  }
  return [];
}

const head = 'name: one, script: s.sh';

describe('build', () => {
  it('is read beside the service, its file from beside the FDL file, and is no part of the definition', () => {
    const [service] = parse(
      '/work/here/fdl.yaml',
      `${head}, Build: {SOURCE: "a:1", kind: python, file: sub/req.txt, platforms: [linux/arm64], rebuild: base}`,
      files,
    );
    expect(service?.build).toEqual({
      source: 'a:1',
      kind: 'python',
      file: 'sub/req.txt',
      bytes: bytes('in /work/here/sub/req.txt'),
      platforms: ['linux/arm64'],
      followsBase: true,
    });
    expect(service?.document).not.toHaveProperty('build');
    expect(service?.document).not.toHaveProperty('image');
  });

  it('asks for no more than a requirements file may have', () => {
    const limits: number[] = [];
    parse('fdl.yaml', `${head}, build: {source: a, kind: go, file: go.mod}`, (_, limit) => {
      limits.push(limit);
      return { bytes: bytes('x') };
    });
    expect(limits).toContain(maxRequirementsBytes);
  });

  it.each([
    ['', 'image: is missing; "build" in its place makes one'],
    ['build: ', 'image: is missing; "build" in its place makes one'],
    ['build: {source: a}', 'build.kind: is missing'],
    ['build: {source: a, kind: go, file: ""}', 'build.file: is missing'],
    ['build: go', 'build: must be a map, but is text'],
    ['image: [a]', 'image: must be text'],
    ['image: i, build: {source: a, kind: go, file: f}', 'build: stands in the place of "image"'],
    [
      'build: {source: a, kind: go, file: none.txt}',
      'build.file: the requirements file none.txt does not exist',
    ],
    ['build: {source: a, kind: go, file: "a\\nb"}', 'build.file: must be the path of a file'],
    [
      'build: {source: a, kind: go, file: f, rebuild: always}',
      'build.rebuild: must be "base", but is "always"',
    ],
    ['build: {source: a, kind: go, file: f, platforms: linux}', 'build.platforms: must be a list'],
  ])('with %j is at fault', (build, message) => {
    const problems = problemsOf(`${head}, ${build}`);
    expect(problems[0]).toContain(`functions.oscar[0].c.${message}`);
    expect(problems.filter((text) => text.includes('image: is missing'))).toHaveLength(
      message.startsWith('image: is missing') ? 1 : 0,
    );
  });

  it.each([
    [new Uint8Array(), 'is empty'],
    [new Uint8Array([0x80]), 'is not UTF-8 text'],
    [new Uint8Array(maxRequirementsBytes + 1).fill(0x61), 'is over 4.8 MiB'],
  ])('does not take every file', (content, message) => {
    const readFile: ReadScript = (file) => ({ bytes: file.endsWith('.sh') ? bytes('x') : content });
    const problems = problemsOf(`${head}, build: {source: a, kind: go, file: go.mod}`, readFile);
    expect(problems).toEqual([expect.stringContaining(`the requirements file go.mod ${message}`)]);
  });

  it('wants a name that can be part of an image’s', () => {
    const problems = problemsOf('name: "a b", script: s, build: {source: a, kind: go, file: f}');
    expect(problems[0]).toContain('name: cannot begin an image’s tag');
  });
});
