import { numberIn, record, textIn, type JsonRecord } from '../api/wire.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { stateText } from '../format/colors.ts';
import { oneLine } from '../format/text.ts';

/** The server in one screen: what it is made of and what it has to do. */
export async function status(context: Context): Promise<ExitCode> {
  const overview = await context.api.overview();
  if (context.json !== undefined) {
    await context.json.document(overview);
    return exitCodes.ok;
  }
  const rows: [string, string][] = [
    [
      'server',
      `${context.connection.url.href.replace(/\/$/, '')} (version ${oneLine(textIn(overview, 'version') ?? '?')})`,
    ],
    ['services', countText(overview, 'services')],
    ['runs', runsText(context, overview)],
    ['slots', slotsText(overview)],
    ['dead letters', deadLettersText(context, overview)],
  ];
  const buckets = textIn(overview, 'buckets_path');
  if (buckets !== undefined) rows.push(['buckets', oneLine(buckets)]);
  rows.push(...adapterRows(overview));
  const width = Math.max(...rows.map(([name]) => name.length));
  await context.io.out(
    rows.map(([name, value]) => `${context.colors.dim(name.padEnd(width))}  ${value}\n`).join(''),
  );
  return exitCodes.ok;
}

function countText(overview: JsonRecord, key: string): string {
  return String(numberIn(overview, key) ?? '?');
}

function runsText(context: Context, overview: JsonRecord): string {
  const runs = record(overview['runs'] ?? {}, '"runs"');
  const counts = Object.entries(runs).flatMap(([state, count]) =>
    typeof count === 'number' && count > 0 ? [`${count} ${stateText(context.colors, oneLine(state))}`] : [],
  );
  return counts.length === 0 ? 'none' : counts.join(', ');
}

function slotsText(overview: JsonRecord): string {
  const slots = record(overview['slots'] ?? {}, '"slots"');
  return `${countText(slots, 'used')} of ${countText(slots, 'limit')} in use`;
}

function deadLettersText(context: Context, overview: JsonRecord): string {
  const count = numberIn(overview, 'dead_letters') ?? 0;
  return count === 0 ? '0' : `${context.colors.red(String(count))} (sluice dead-letter list)`;
}

function adapterRows(overview: JsonRecord): [string, string][] {
  return Object.entries(record(overview['adapters'] ?? {}, '"adapters"')).map(([port, value]) => {
    const adapter = record(value, 'an adapter');
    const chosenBy = textIn(adapter, 'chosen_by');
    const why = chosenBy === undefined ? '' : ` (${oneLine(chosenBy)})`;
    return [oneLine(port), `${oneLine(textIn(adapter, 'adapter') ?? '?')}${why}`];
  });
}
