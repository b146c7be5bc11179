import { textIn } from '../api/wire.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { oneLine } from '../format/text.ts';
import { note } from '../say.ts';

export interface BackfillOptions {
  readonly prefix?: string;
  readonly again?: boolean;
}

/** Has a service run for the objects that were in its input folder before it was there. */
export async function backfill(
  context: Context,
  service: string,
  options: BackfillOptions,
): Promise<ExitCode> {
  const again = options.again === true;
  const body = { again, ...(options.prefix === undefined ? {} : { prefix: options.prefix }) };
  const answer = await context.api.backfill(service, body);
  if (context.json !== undefined) {
    await context.json.document(answer);
    return exitCodes.ok;
  }
  await context.io.out(`${oneLine(textIn(answer, 'backfill_id') ?? '')}\n`);
  await note(context, `Its runs appear in: sluice run list ${oneLine(service)}`);
  return exitCodes.ok;
}
