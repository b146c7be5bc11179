/** A place in a file that a person opens: both numbers begin at 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One fault of an FDL file, said so that it can be found and mended. */
export interface FdlProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Where in the document: `functions.oscar[0].local.input[0].path`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

const maxShown = 50;

/** Every fault of a file at once. */
export class FdlError extends Error {
  readonly problems: readonly FdlProblem[];

  constructor(problems: readonly FdlProblem[]) {
    super(problemLines(problems).join('\n'));
    this.name = 'FdlError';
    this.problems = problems;
  }
}

/** `fdl.yaml:12:7: functions.oscar[0].local.input[0].path: must be text` */
export function problemText(problem: FdlProblem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}`;
  return problem.path === ''
    ? `${where}: ${problem.message}`
    : `${where}: ${problem.path}: ${problem.message}`;
}

function problemLines(problems: readonly FdlProblem[]): string[] {
  const lines = problems.slice(0, maxShown).map(problemText);
  const more = problems.length - lines.length;
  return more === 0 ? lines : [...lines, `… and ${more} more`];
}

/** Appends a key to a path; a key that is more than a word is quoted, so that dots in it are not read as steps. */
export function childPath(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  if (!/^[\w-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
