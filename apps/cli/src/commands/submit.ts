import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';
import { messageOf, systemCode, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { bytesText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';
import { textIn } from '../api/wire.ts';
import { followRun } from '../runs/follow.ts';
import { note } from '../say.ts';
import { serviceNamed } from './service.ts';

export interface SubmitOptions {
  readonly wait?: boolean;
  readonly raw?: boolean;
  readonly idempotencyKey?: string;
}

/** An event is held in memory here and by the server; what is larger belongs into a bucket. */
const maxEventBytes = 64 * 1024 * 1024;
const maxKeyLength = 255;

/**
 * Starts a run with an event: a file, standard input, or nothing. JSON goes as it is; everything else as base64, which the script's
 * side turns back into the same bytes (OSCAR §7.3).
 */
export async function submit(
  context: Context,
  service: string,
  file: string | undefined,
  options: SubmitOptions,
): Promise<ExitCode> {
  const key = options.idempotencyKey ?? randomUUID();
  if (key === '' || key.length > maxKeyLength || !/^[\x20-\x7e]+$/.test(key)) {
    throw usageError(`--idempotency-key must have 1 to ${maxKeyLength} printable ASCII characters`);
  }
  const bytes = file === undefined ? undefined : await readEvent(context, file);
  const body = bytes === undefined || options.raw === true || isJson(bytes) ? bytes : base64Of(bytes);
  const token = textIn(await serviceNamed(context, service), 'token') ?? '';
  const id = await context.api.submit(service, token, body, key);
  if (options.wait === true) {
    await note(context, `run ${oneLine(id)}`);
    return await followRun(context, id);
  }
  if (context.json === undefined) await context.io.out(`${oneLine(id)}\n`);
  else await context.json.document({ run: id, url: `/system/runs/${id}` });
  return exitCodes.ok;
}

async function readEvent(context: Context, file: string): Promise<Buffer> {
  const stream: Readable = file === '-' ? context.io.stdin : createReadStream(file);
  addAbortSignal(context.signal, stream);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
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
    if (systemCode(error) === undefined) throw error;
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
