import type { WirePruned } from '../api/build-wire.ts';
import { imageText } from '../builds/describe.ts';
import { CliError, notFound } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { agoText, bytesText } from '../format/quantity.ts';
import { tableText } from '../format/table.ts';
import { oneLine, plural, shorten } from '../format/text.ts';
import { note } from '../say.ts';

export async function listImages(context: Context): Promise<ExitCode> {
  const images = await context.api.images();
  if (context.json !== undefined) {
    await context.json.document({ images: images.map(({ raw }) => raw) });
    return exitCodes.ok;
  }
  if (images.length === 0) {
    await note(context, 'No images. Build one with: sluice build start');
    return exitCodes.ok;
  }
  const now = context.now();
  const rows = images.map((image) => [
    oneLine(image.tag),
    oneLine(image.kind ?? '-'),
    image.size === undefined ? '-' : bytesText(image.size),
    agoText(image.createdAt, now),
    oneLine(image.source ?? '-'),
    image.usedBy.length === 0 ? '-' : shorten(oneLine(image.usedBy.join(', ')), 40),
  ]);
  const columns = ['TAG', 'KIND', 'SIZE', 'CREATED', 'SOURCE', 'USED BY'].map((title) => ({ title }));
  await context.io.out(`${tableText(columns, rows)}\n`);
  return exitCodes.ok;
}

export async function showImage(context: Context, tag: string): Promise<ExitCode> {
  const image = await context.api.image(tag);
  if (image === undefined)
    throw notFound(`There is no image "${oneLine(tag)}".`, 'sluice image list shows those that there are.');
  if (context.json !== undefined) await context.json.document(image.raw);
  else await context.io.out(`${imageText(image, context.now(), context.colors)}\n`);
  return exitCodes.ok;
}

export async function deleteImages(
  context: Context,
  tags: readonly string[],
  options: { readonly force?: boolean },
): Promise<ExitCode> {
  for (const tag of tags) {
    await deleteImage(context, tag, options.force === true);
    await note(context, `deleted ${oneLine(tag)}`);
  }
  await context.json?.document({ deleted: tags });
  return exitCodes.ok;
}

async function deleteImage(context: Context, tag: string, force: boolean): Promise<void> {
  try {
    await context.api.deleteImage(tag, force);
  } catch (error) {
    if (!(error instanceof CliError) || error.status !== 409 || force || error.hint !== undefined)
      throw error;
    const { code, field, status, cause, exitCode, message } = error;
    throw new CliError(exitCode, message, {
      code,
      field,
      status,
      cause,
      hint: '--force deletes it all the same.',
    });
  }
}

/** What goes, on stdout; what stays though it would go, and what becomes of the registry, beside it. */
export async function pruneImages(
  context: Context,
  options: { readonly dryRun?: boolean },
): Promise<ExitCode> {
  const pruned = await context.api.pruneImages(options.dryRun === true);
  if (context.json !== undefined) {
    await context.json.document(pruned.raw);
    return exitCodes.ok;
  }
  for (const { image, why } of pruned.removed)
    await context.io.out(`${context.colors.red(`- ${oneLine(image)}`)}  ${oneLine(why)}\n`);
  for (const { image, why } of pruned.kept) await note(context, `= ${oneLine(image)}  ${oneLine(why)}`);
  const count = plural(pruned.removed.length, 'image');
  await note(
    context,
    options.dryRun === true ? `${count} would go.` : `${count} deleted.${collectionText(pruned)}`,
  );
  return exitCodes.ok;
}

function collectionText({ collection }: WirePruned): string {
  switch (collection?.state) {
    case 'done':
      return collection.freedBytes === undefined
        ? ' The registry is collected.'
        : ` ${bytesText(collection.freedBytes)} are free again.`;
    case 'scheduled':
      return ' Their space is freed by the builder, soon.';
    case 'unsupported':
      return ' Their space is the registry’s to free.';
    default:
      return '';
  }
}
