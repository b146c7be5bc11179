import { stat } from 'node:fs/promises';
import path from 'node:path';
import { CliError, notFound, systemCode, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { forEachLimit } from '../files/concurrency.ts';
import { downloadFile, downloadTo } from '../files/download.ts';
import { localPath } from '../files/local-path.ts';
import { createProgress, type Progress, type Total } from '../files/progress.ts';
import { parseRemote, type RemotePath } from '../files/remote-path.ts';
import { select, selected, type Selection } from '../files/select.ts';
import { bytesText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';
import { errorDocument, type AddItem } from '../output.ts';
import { parseCount } from '../runs/follow.ts';

export interface GetOptions {
  readonly parallel: string;
}

interface Item {
  readonly key: string;
  /** Where it goes; throws for a key that can't be a file there. */
  readonly file: () => string;
}

/**
 * Downloads an object, a folder or a glob. Files appear whole or not at all, and never outside the destination. `-` is standard output.
 */
export async function getFiles(
  context: Context,
  from: string,
  to: string | undefined,
  options: GetOptions,
): Promise<ExitCode> {
  const parallel = parseCount(options.parallel, '--parallel', 1, 64);
  const remote = parseRemote(from);
  const selection = await select(context.api, remote);
  if (to === '-') return await printObject(context, remote, selection);
  const destination = await destinationOf(context.cwd, to);
  const items = (): AsyncGenerator<Item> => itemsOf(context, remote, selection, destination);
  const progress = await createProgress(context, () => totalOf(context, remote, selection));
  let failed = false;
  let count = 0;
  const work = async (add: AddItem): Promise<undefined> => {
    await forEachLimit(items(), parallel, async (item) => {
      count += 1;
      const isDone = await getOne(context, remote.bucket, item, progress, add);
      failed ||= !isDone;
    });
    if (count === 0) throw notFound(`Nothing is at ${from}.`);
  };
  try {
    if (context.json === undefined) await work(() => Promise.resolve());
    else await context.json.list('files', work);
  } finally {
    progress.stop();
  }
  return failed ? exitCodes.failed : exitCodes.ok;
}

async function printObject(context: Context, remote: RemotePath, selection: Selection): Promise<ExitCode> {
  if (selection.kind !== 'object') throw usageError('Only one object can go to standard output');
  if (context.json !== undefined) throw usageError('--json and "-" both want standard output');
  await downloadTo(context, remote, context.io.out);
  return exitCodes.ok;
}

interface Destination {
  readonly path: string;
  readonly isFolder: boolean;
}

async function destinationOf(cwd: string, to: string | undefined): Promise<Destination> {
  const target = path.resolve(cwd, to ?? '.');
  if (to === undefined || /[/\\]$/.test(to)) return { path: target, isFolder: true };
  try {
    return { path: target, isFolder: (await stat(target)).isDirectory() };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { path: target, isFolder: false };
    throw usageError(`${to} cannot be used: ${systemCode(error) ?? 'unknown'}`);
  }
}

async function* itemsOf(
  context: Context,
  remote: RemotePath,
  selection: Selection,
  destination: Destination,
): AsyncGenerator<Item> {
  if (selection.kind === 'object') {
    const name = path.posix.basename(remote.key);
    yield {
      key: remote.key,
      file: () => (destination.isFolder ? localPath(destination.path, name) : destination.path),
    };
    return;
  }
  for await (const { key } of selected(context.api, remote.bucket, selection)) {
    yield { key, file: () => localPath(destination.path, key.slice(selection.base.length)) };
  }
}

async function totalOf(context: Context, remote: RemotePath, selection: Selection): Promise<Total> {
  if (selection.kind === 'object') return { files: 1, bytes: selection.size ?? 0 };
  let files = 0;
  let bytes = 0;
  for await (const { size } of selected(context.api, remote.bucket, selection)) {
    files += 1;
    bytes += size;
  }
  return { files, bytes };
}

/** @returns false when this object failed; the others go on */
async function getOne(
  context: Context,
  bucket: string,
  item: Item,
  progress: Progress,
  add: AddItem,
): Promise<boolean> {
  const { key } = item;
  const where = oneLine(`${bucket}/${key}`);
  try {
    const file = item.file();
    const size = await downloadFile(context, { bucket, key, file }, progress.bytes);
    await progress.file(`${where} → ${oneLine(path.relative(context.cwd, file))} (${bytesText(size)})`);
    await add({ bucket, key, file, size });
    return true;
  } catch (error) {
    const isOurs = error instanceof CliError;
    if (!isOurs || error.exitCode === exitCodes.unreachable || error.exitCode === exitCodes.unauthenticated)
      throw error;
    await progress.note(`${context.errColors.red('failed')} ${where}: ${oneLine(error.message)}`);
    await add({ bucket, key, error: errorDocument(error) });
    return false;
  }
}
