import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { systemCode, usageError } from '../cli-error.ts';
import { globBase, hasGlob } from './glob.ts';

/** A file to upload. */
export interface Source {
  /** To open it by. */
  readonly file: string;
  /** Its place below the destination, with `/` between folders. */
  readonly name: string;
}

/** What the arguments of `file put` stand for. */
export interface SourcePlan {
  /** One plain file: its destination may be a name of its own. */
  readonly isSingle: boolean;
  /** Walks the folders each time it is called. */
  files(): AsyncGenerator<Source>;
}

/**
 * Files, folders (with all that is below them) and globs that the shell has left alone.
 * @param onSkipped told of links to folders, sockets and the like
 * @throws CliError for what does not exist
 */
export async function planSources(
  cwd: string,
  args: readonly string[],
  onSkipped: (file: string, why: string) => Promise<void>,
): Promise<SourcePlan> {
  const parts: { readonly kind: 'file' | 'folder' | 'glob'; readonly arg: string }[] = [];
  for (const arg of args) parts.push({ kind: await kindOf(cwd, arg), arg });
  const files = async function* (): AsyncGenerator<Source> {
    for (const { kind, arg } of parts) {
      const file = path.resolve(cwd, arg);
      if (kind === 'file') yield { file, name: path.basename(file) };
      else if (kind === 'folder') yield* walk(file, '', onSkipped);
      else yield* globbed(cwd, arg);
    }
  };
  return { isSingle: parts.length === 1 && parts[0]?.kind === 'file', files };
}

async function kindOf(cwd: string, arg: string): Promise<'file' | 'folder' | 'glob'> {
  const found = await statOrUndefined(path.resolve(cwd, arg));
  if (found?.isFile() === true) return 'file';
  if (found?.isDirectory() === true) return 'folder';
  if (found !== undefined) throw usageError(`${arg} is neither a file nor a folder`);
  if (hasGlob(arg)) return 'glob';
  throw usageError(`${arg} does not exist`);
}

async function statOrUndefined(file: string): Promise<Stats | undefined> {
  try {
    return await stat(file);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES' || code === 'ELOOP' || code === 'ENAMETOOLONG') {
      throw usageError(`${file} cannot be read (${code})`);
    }
    throw error;
  }
}

async function* globbed(cwd: string, pattern: string): AsyncGenerator<Source> {
  const { glob } = await import('tinyglobby');
  const base = globBase(pattern);
  const found = await glob(pattern, {
    cwd,
    onlyFiles: true,
    followSymbolicLinks: false,
    expandDirectories: false,
  });
  if (found.length === 0) throw usageError(`${pattern} matches no file`);
  for (const match of found.toSorted()) {
    const file = path.resolve(cwd, match);
    yield { file, name: slashes(path.relative(path.resolve(cwd, base), file)) };
  }
}

function slashes(file: string): string {
  return path.sep === '/' ? file : file.replaceAll(path.sep, '/');
}

async function* walk(
  folder: string,
  name: string,
  onSkipped: (file: string, why: string) => Promise<void>,
): AsyncGenerator<Source> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = path.join(folder, entry.name);
    const below = `${name}${entry.name}`;
    if (entry.isFile()) yield { file, name: below };
    else if (entry.isDirectory()) yield* walk(file, `${below}/`, onSkipped);
    else if (entry.isSymbolicLink() && (await statOrUndefined(file))?.isFile() === true)
      yield { file, name: below };
    // Links to folders are not followed: they may lead round in circles.
    else await onSkipped(file, entry.isSymbolicLink() ? 'a link that leads to no file' : 'not a file');
  }
}
