import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';
import { messageOf, systemCode } from '../cli-error.ts';
import { openStream } from '../files/small-file.ts';
import { maxFdlBytes, parseFdl, type Fdl, type ReadScript } from './parse.ts';
import { FdlError, type FdlProblem } from './problem.ts';

export interface FdlSource {
  readonly stdin: Readable;
  readonly signal: AbortSignal;
  /** Is told of each script that is looked for. */
  readonly onScript?: (file: string) => void;
}

/**
 * Reads FDL files, `-` for standard input (its scripts are relative to the current folder).
 * @throws FdlError with the faults of all files; the signal's reason when it is aborted
 */
export async function readFdlFiles(files: readonly string[], source: FdlSource): Promise<readonly Fdl[]> {
  const problems: FdlProblem[] = [];
  const fdls: Fdl[] = [];
  for (const file of files) {
    try {
      fdls.push(await readFdlFile(file, source));
    } catch (error) {
      if (!(error instanceof FdlError)) throw error;
      problems.push(...error.problems);
    }
  }
  if (problems.length > 0) throw new FdlError(problems);
  return fdls;
}

async function readFdlFile(file: string, { stdin, signal, onScript }: FdlSource): Promise<Fdl> {
  let bytes: Uint8Array;
  try {
    bytes = await readStream(file === '-' ? stdin : openStream(file), signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new FdlError([{ file, line: 1, column: 1, path: '', message: reasonOf(error) }]);
  }
  return parseFdl(file === '-' ? '<stdin>' : file, bytes, (script, limit) => {
    onScript?.(script);
    return readScriptFile(script, limit);
  });
}

async function readStream(stream: Readable, signal: AbortSignal): Promise<Uint8Array> {
  addAbortSignal(signal, stream);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxFdlBytes) break;
  }
  return Buffer.concat(chunks);
}

/** No more than the limit is read: a path that leads to a device or a film must not fill the memory. */
const readScriptFile: ReadScript = (file, limit) => {
  let descriptor: number;
  try {
    // A named pipe would be waited for, by the whole process.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return { problem: reasonOf(error) };
  }
  try {
    if (!fstatSync(descriptor).isFile()) return { problem: 'is not a regular file' };
    const buffer = Buffer.alloc(limit + 1);
    let length = 0;
    for (;;) {
      const read = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (read === 0) return { bytes: buffer.subarray(0, length) };
      length += read;
      if (length === buffer.length) return { bytes: buffer };
    }
  } catch (error) {
    return { problem: reasonOf(error) };
  } finally {
    closeSync(descriptor);
  }
};

function reasonOf(error: unknown): string {
  switch (systemCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read';
    case 'EISDIR':
      return 'is a folder';
    default:
      return `cannot be read: ${messageOf(error)}`;
  }
}
