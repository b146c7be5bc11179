import { addAbortSignal, type Readable } from 'node:stream';
import { messageOf, systemCode, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { openStream } from '../files/small-file.ts';
import { maxRequirementsBytes, requirementsFault } from './requirements.ts';

/**
 * A requirements file, `-` for standard input.
 * @throws CliError for what can't be one
 */
export async function readRequirements(context: Context, file: string): Promise<Buffer> {
  const bytes = await readAll(context, file);
  const fault = requirementsFault(bytes);
  if (fault !== undefined) throw usageError(`The requirements file ${file} ${fault}.`);
  return bytes;
}

async function readAll(context: Context, file: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const stream: Readable = file === '-' ? context.io.stdin : openStream(file);
    addAbortSignal(context.signal, stream);
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxRequirementsBytes) break;
    }
  } catch (error) {
    context.signal.throwIfAborted();
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (code === 'ENOENT') throw usageError(`${file} does not exist`);
    throw usageError(`${file} cannot be read: ${messageOf(error)}`);
  }
  return Buffer.concat(chunks);
}
