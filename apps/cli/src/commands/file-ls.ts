import type { WireEntry } from '../api/wire.ts';
import { numberIn, record, textIn } from '../api/wire.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { globBase, globToRegExp, hasGlob } from '../files/glob.ts';
import { parseRemote } from '../files/remote-path.ts';
import { listObjects } from '../files/select.ts';
import { agoText, bytesText } from '../format/quantity.ts';
import { tableText } from '../format/table.ts';
import { oneLine, plural } from '../format/text.ts';
import { note } from '../say.ts';

/** The buckets, or the objects whose keys begin with a path or that a glob names. */
export async function listFiles(context: Context, at: string | undefined): Promise<ExitCode> {
  if (at === undefined) return await listBuckets(context);
  const { bucket, key } = parseRemote(at);
  const pattern = hasGlob(key) ? globToRegExp(key) : undefined;
  const entries = listObjects(context.api, bucket, pattern === undefined ? key : globBase(key));
  const wanted = (entry: WireEntry): boolean =>
    pattern === undefined || pattern.test(entry.key) || entry.key === key;
  if (context.json !== undefined) {
    await context.json.list('objects', async (add) => {
      for await (const entry of entries) if (wanted(entry)) await add(entry.raw);
      return { bucket };
    });
    return exitCodes.ok;
  }
  let files = 0;
  let bytes = 0;
  for await (const entry of entries) {
    if (!wanted(entry)) continue;
    files += 1;
    bytes += entry.size;
    await context.io.out(entryLine(context, bucket, entry));
  }
  await note(context, `${plural(files, 'object')}, ${bytesText(bytes)}`);
  return exitCodes.ok;
}

/** Columns of fixed widths: lines come as the pages do. */
function entryLine(context: Context, bucket: string, entry: WireEntry): string {
  const age = agoText(entry.lastModified, context.now());
  return `${bytesText(entry.size).padStart(9)}  ${age.padEnd(8)}  ${oneLine(`${bucket}/${entry.key}`)}\n`;
}

async function listBuckets(context: Context): Promise<ExitCode> {
  const buckets = await context.api.buckets();
  if (context.json !== undefined) {
    await context.json.document(buckets);
    return exitCodes.ok;
  }
  if (buckets.length === 0) {
    await note(context, 'There are no buckets. Services make theirs: sluice apply FILE');
    return exitCodes.ok;
  }
  const rows = buckets.map((bucket) => {
    const usage = record(bucket['storage_usage'] ?? {}, '"storage_usage"');
    const used = numberIn(usage, 'used_bytes');
    return [
      oneLine(textIn(bucket, 'bucket_name') ?? ''),
      String(numberIn(usage, 'objects') ?? '-'),
      used === undefined ? '-' : bytesText(used),
      oneLine(textIn(bucket, 'owner') ?? ''),
    ];
  });
  const columns = [
    { title: 'BUCKET' },
    { title: 'OBJECTS', align: 'right' },
    { title: 'SIZE', align: 'right' },
    { title: 'OWNER' },
  ] as const;
  await context.io.out(`${tableText(columns, rows)}\n`);
  return exitCodes.ok;
}
