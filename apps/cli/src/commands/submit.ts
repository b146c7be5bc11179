import { randomUUID } from 'node:crypto';
import { usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { oneLine } from '../format/text.ts';
import { textIn } from '../api/wire.ts';
import { readEventBody } from '../runs/event.ts';
import { followRun } from '../runs/follow.ts';
import { note } from '../say.ts';
import { serviceNamed } from './service.ts';

export interface SubmitOptions {
  readonly wait?: boolean;
  readonly raw?: boolean;
  readonly idempotencyKey?: string;
}

const maxKeyLength = 255;

/** Starts a run with an event: a file, standard input, or nothing. */
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
  const body = await readEventBody(context, file, options.raw === true);
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
