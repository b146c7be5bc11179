import type { Api } from '../api/routes.ts';
import type { WireEntry } from '../api/wire.ts';
import { notFound } from '../cli-error.ts';
import { globBase, globToRegExp, hasGlob } from './glob.ts';
import type { RemotePath } from './remote-path.ts';

/** What a path of the command line stands for on the server. */
export type Selection =
  | { readonly kind: 'object'; readonly size: number | undefined }
  /** Several: everything below `base`, or what of it a pattern names. */
  | { readonly kind: 'many'; readonly base: string; readonly pattern: RegExp | undefined };

/**
 * One object, a folder (ends in `/`, is empty, or no object has the name and some lie below it), or a glob.
 * @throws CliError where there is nothing
 */
export async function select(
  api: Pick<Api, 'headObject' | 'objects'>,
  remote: RemotePath,
): Promise<Selection> {
  const { bucket, key } = remote;
  if (key === '' || key.endsWith('/')) return { kind: 'many', base: key, pattern: undefined };
  const object = await api.headObject(bucket, key);
  if (object !== undefined) return { kind: 'object', size: object.size };
  if (hasGlob(key)) return { kind: 'many', base: globBase(key), pattern: globToRegExp(key) };
  const folder = `${key}/`;
  if ((await api.objects(bucket, { prefix: folder, limit: 1 })).items.length > 0) {
    return { kind: 'many', base: folder, pattern: undefined };
  }
  throw notFound(
    `There is no object ${bucket}/${key}.`,
    `sluice file ls ${bucket} shows those that there are.`,
  );
}

const pageSize = 1000;

/** The objects of a selection in the order of their keys, a page at a time. Markers of folders (keys that end in `/`) are left out. */
export async function* selected(
  api: Pick<Api, 'objects'>,
  bucket: string,
  selection: { readonly base: string; readonly pattern: RegExp | undefined },
): AsyncGenerator<WireEntry> {
  for await (const entry of listObjects(api, bucket, selection.base)) {
    if (entry.key.endsWith('/')) continue;
    if (selection.pattern === undefined || selection.pattern.test(entry.key)) yield entry;
  }
}

/** Every object whose key begins with the prefix. */
export async function* listObjects(
  api: Pick<Api, 'objects'>,
  bucket: string,
  prefix: string,
): AsyncGenerator<WireEntry> {
  let after: string | undefined;
  do {
    const query = {
      limit: pageSize,
      ...(prefix === '' ? {} : { prefix }),
      ...(after === undefined ? {} : { after }),
    };
    const page = await api.objects(bucket, query);
    yield* page.items;
    after = page.next;
  } while (after !== undefined);
}
