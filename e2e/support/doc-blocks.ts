import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './server.ts';

/** A code block of a page, with what the comments right above it say of it. They are not shown where the page is read. */
export interface DocBlock {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** `<!-- file: NAME -->`: the block is that file. */
  readonly file: string | undefined;
  /** `<!-- given: COMMAND -->`: what a reader of this page has done already. */
  readonly given: string;
  /** `<!-- prints: TEXT -->`: what the commands print, somewhere. */
  readonly prints: readonly string[];
  /** `<!-- exits with: CODE -->`, where it is not 0. */
  readonly exitCode: number;
  /** `<!-- soon -->`: what it asks for may take a moment; it is asked again until it is there. */
  readonly soon: boolean;
  /** `<!-- run by: FILE -->`: the test or script that runs these commands. */
  readonly runBy: string | undefined;
  /** `<!-- test bed -->`: run against real servers. */
  readonly real: boolean;
  /** `<!-- not run: REASON -->`: why nobody can. */
  readonly notRun: string | undefined;
}

const fence = /^((?:<!--.*-->\n)*)```(\w*)\n([\s\S]*?)^```$/gm;

export function blocksOf(page: string): DocBlock[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(fence)].map((match) => {
    const [, comments = '', language = '', code = ''] = match;
    const notes = [...comments.matchAll(/<!-- (.*) -->/g)].map(([, note = '']) => note);
    const note = (name: string): string | undefined =>
      notes.find((one) => one.startsWith(`${name}: `))?.slice(name.length + 2);
    return {
      page,
      line: text.slice(0, match.index + comments.length).split('\n').length,
      language,
      text: code,
      file: note('file'),
      prints: notes.filter((one) => one.startsWith('prints: ')).map((one) => one.slice('prints: '.length)),
      given: note('given') ?? '',
      exitCode: Number(note('exits with') ?? 0),
      soon: notes.includes('soon'),
      runBy: note('run by'),
      real: notes.includes('test bed'),
      notRun: note('not run'),
    };
  });
}

/** Pages that people read, decisions and generated files apart. */
export function pages(): string[] {
  const exclude = (path: string): boolean => path.includes('node_modules') || path.startsWith('docs/adr');
  return globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md'], { cwd: root, exclude }).toSorted();
}

export function isCommands({ language, file }: DocBlock): boolean {
  return ['sh', 'bash', 'shell', 'console', 'zsh'].includes(language) && file === undefined;
}
