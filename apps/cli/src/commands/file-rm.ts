import { notFound, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { forEachLimit } from '../files/concurrency.ts';
import { parseRemote, type RemotePath } from '../files/remote-path.ts';
import { select, selected, type Selection } from '../files/select.ts';
import { oneLine, plural } from '../format/text.ts';
import type { AddItem } from '../output.ts';
import { confirm } from './confirm.ts';
import { note } from '../say.ts';

export interface RemoveOptions {
  readonly recursive?: boolean;
  readonly yes?: boolean;
}

interface Removal {
  readonly remote: RemotePath;
  readonly selection: Selection;
}

const parallel = 8;

/** Deletes objects; a folder only with `recursive`, and more than one object only after a yes. */
export async function removeFiles(
  context: Context,
  paths: readonly string[],
  options: RemoveOptions,
): Promise<ExitCode> {
  const removals: Removal[] = [];
  for (const path of paths) {
    const remote = parseRemote(path);
    const selection = await select(context.api, remote);
    if (selection.kind === 'many' && selection.pattern === undefined && options.recursive !== true) {
      throw usageError(`${path} is a folder`, '--recursive deletes all that is below it.');
    }
    removals.push({ remote, selection });
  }
  if (removals.some(({ selection }) => selection.kind === 'many')) {
    const count = await countAll(context, removals);
    if (count === 0) throw notFound(`Nothing is at ${paths.join(', ')}.`);
    await confirm(
      context,
      `Delete ${plural(count, 'object')} at ${paths.map(oneLine).join(', ')}?`,
      options.yes === true,
    );
  }
  if (context.json === undefined) await removeAll(context, removals, () => Promise.resolve());
  else await context.json.list('deleted', (add) => removeAll(context, removals, add));
  return exitCodes.ok;
}

async function countAll(context: Context, removals: readonly Removal[]): Promise<number> {
  let count = 0;
  for await (const _ of keysOf(context, removals)) count += 1;
  return count;
}

async function* keysOf(context: Context, removals: readonly Removal[]): AsyncGenerator<RemotePath> {
  for (const { remote, selection } of removals) {
    if (selection.kind === 'object') {
      yield remote;
      continue;
    }
    for await (const { key } of selected(context.api, remote.bucket, selection))
      yield { bucket: remote.bucket, key };
  }
}

async function removeAll(context: Context, removals: readonly Removal[], add: AddItem): Promise<undefined> {
  await forEachLimit(keysOf(context, removals), parallel, async ({ bucket, key }) => {
    await context.api.deleteObject(bucket, key);
    await add({ bucket, key });
    await note(context, `deleted ${oneLine(`${bucket}/${key}`)}`);
  });
}
