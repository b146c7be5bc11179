import { addAbortSignal, type Readable } from 'node:stream';
import { messageOf, systemCode, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { openStream } from '../files/small-file.ts';
import { bytesText } from '../format/quantity.ts';

/** An event is held in memory here and by the server; what is larger belongs into a bucket. */
const maxEventBytes = 64 * 1024 * 1024;

/**
 * The body that starts a run or a call: a file, `-` for standard input, or nothing. JSON goes as it is; everything else as base64, which the
 * script's side turns back into the same bytes (OSCAR §7.3).
 * @param raw send the bytes as they are
 */
export async function readEventBody(
  context: Context,
  file: string | undefined,
  raw: boolean,
): Promise<Uint8Array | undefined> {
  const bytes = file === undefined ? undefined : await readEvent(context, file);
  return bytes === undefined || raw || isJson(bytes) ? bytes : base64Of(bytes);
}

async function readEvent(context: Context, file: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const stream: Readable = file === '-' ? context.io.stdin : openStream(file);
    addAbortSignal(context.signal, stream);
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxEventBytes) {
        throw usageError(
          `${file} is larger than ${bytesText(maxEventBytes)}`,
          'Upload it instead: sluice file put',
        );
      }
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

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}

function base64Of(bytes: Buffer): Uint8Array {
  return Buffer.from(bytes.toString('base64'));
}
