import { notFound, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { agoText } from '../format/quantity.ts';
import { tableText } from '../format/table.ts';
import { oneLine, plural, shorten } from '../format/text.ts';
import { parseCount } from '../runs/follow.ts';
import { numberIn, textIn, timeIn, type WireDeadLetter } from '../api/wire.ts';
import { confirm } from './confirm.ts';
import { note } from '../say.ts';

const pageSize = 1000;

export async function listDeadLetters(
  context: Context,
  options: { readonly limit: string },
): Promise<ExitCode> {
  const limit = parseCount(options.limit, '--limit', 1, 1_000_000);
  if (context.json !== undefined) {
    await context.json.list('dead_letters', async (add) => {
      for await (const letter of deadLetters(context, limit)) await add(letter.raw);
      return undefined;
    });
    return exitCodes.ok;
  }
  const now = context.now();
  const rows: string[][] = [];
  for await (const { id, raw } of deadLetters(context, limit)) {
    rows.push([
      oneLine(id),
      agoText(timeIn(raw, 'dead_at'), now),
      oneLine(textIn(raw, 'name') ?? '-'),
      shorten(oneLine(textIn(raw, 'key') ?? '-'), 40),
      String(numberIn(raw, 'attempts') ?? '-'),
      shorten(oneLine(textIn(raw, 'reason') ?? '-'), 80),
    ]);
  }
  if (rows.length === 0) {
    await note(context, 'No dead letters.');
    return exitCodes.ok;
  }
  const columns = ['ID', 'SINCE', 'MESSAGE', 'KEY', 'ATTEMPTS', 'REASON'].map((title) => ({ title }));
  await context.io.out(`${tableText(columns, rows)}\n`);
  return exitCodes.ok;
}

async function* deadLetters(context: Context, limit: number): AsyncGenerator<WireDeadLetter> {
  let left = limit;
  let cursor: string | undefined;
  do {
    const page = await context.api.deadLetters(Math.min(left, pageSize), cursor);
    yield* page.items;
    left -= page.items.length;
    cursor = page.next;
  } while (cursor !== undefined && left > 0);
}

/** The whole letter, as the server has it. */
export async function showDeadLetter(context: Context, id: string): Promise<ExitCode> {
  for await (const letter of deadLetters(context, Number.MAX_SAFE_INTEGER)) {
    if (letter.id !== id) continue;
    if (context.json === undefined) await context.io.out(`${JSON.stringify(letter.raw, undefined, 2)}\n`);
    else await context.json.document(letter.raw);
    return exitCodes.ok;
  }
  throw notFound(
    `There is no dead letter "${oneLine(id)}".`,
    'sluice dead-letter list shows those that there are.',
  );
}

export interface ManyOptions {
  readonly all?: boolean;
  readonly yes?: boolean;
}

/** Sends letters on their way again, each under a new id. */
export async function redriveDeadLetters(
  context: Context,
  ids: readonly string[],
  options: ManyOptions,
): Promise<ExitCode> {
  const redriven: object[] = [];
  for (const id of await idsOf(context, ids, options)) {
    const answer = await context.api.redriveDeadLetter(id);
    redriven.push({ id, message_id: answer['message_id'] });
    await note(
      context,
      `${oneLine(id)} is on its way again as ${oneLine(textIn(answer, 'message_id') ?? '?')}`,
    );
  }
  await context.json?.document({ redriven });
  return exitCodes.ok;
}

export async function deleteDeadLetters(
  context: Context,
  ids: readonly string[],
  options: ManyOptions,
): Promise<ExitCode> {
  const wanted = await idsOf(context, ids, options);
  await confirm(context, `Delete ${plural(wanted.length, 'dead letter')}?`, options.yes === true);
  for (const id of wanted) {
    await context.api.deleteDeadLetter(id);
    await note(context, `deleted ${oneLine(id)}`);
  }
  await context.json?.document({ deleted: wanted });
  return exitCodes.ok;
}

/** All of them are listed first: redriving or deleting while listing would shift the pages. */
async function idsOf(
  context: Context,
  ids: readonly string[],
  options: ManyOptions,
): Promise<readonly string[]> {
  if (options.all === true && ids.length > 0) throw usageError('Name dead letters or say --all, not both');
  if (options.all !== true && ids.length === 0) throw usageError('Name the dead letters, or say --all');
  if (options.all !== true) return ids;
  const all: string[] = [];
  for await (const { id } of deadLetters(context, Number.MAX_SAFE_INTEGER)) all.push(id);
  return all;
}
