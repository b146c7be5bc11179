import type { Api } from '../api/routes.ts';
import { listIn, record, textIn, type JsonRecord } from '../api/wire.ts';
import { trimPath } from '../fdl/decode.ts';
import type { RemotePath } from './remote-path.ts';

/** Where uploads go: a key of its own, or a folder (ends in `/`, or is empty: the bucket's root). */
export type Target =
  | { readonly kind: 'key'; readonly bucket: string; readonly key: string }
  | { readonly kind: 'folder'; readonly bucket: string; readonly folder: string };

/**
 * As `cp` has it: a destination that ends in `/`, that is a folder already, or that takes several files is a folder; any other is the new name.
 */
export async function resolveTarget(
  api: Pick<Api, 'services' | 'objects'>,
  remote: RemotePath,
  isSingle: boolean,
): Promise<Target> {
  const { bucket, key } = remote;
  if (key === '' || key.endsWith('/')) return { kind: 'folder', bucket, folder: key };
  const folder = `${key}/`;
  if (!isSingle || (await isFolder(api, bucket, folder))) return { kind: 'folder', bucket, folder };
  return { kind: 'key', bucket, key };
}

async function isFolder(
  api: Pick<Api, 'services' | 'objects'>,
  bucket: string,
  folder: string,
): Promise<boolean> {
  const services = await api.services();
  if (services.some((service) => inputFolders(service).includes(`${bucket}/${folder}`))) return true;
  return (await api.objects(bucket, { prefix: folder, limit: 1 })).items.length > 0;
}

export function keyOf(target: Target, name: string): string {
  return target.kind === 'key' ? target.key : target.folder + name;
}

/** Names of the services that run for an object: those with an input path that it lies below. */
export function servicesFor(services: readonly JsonRecord[], bucket: string, key: string): string[] {
  return services.flatMap((service) => {
    const isInput = inputFolders(service).some((folder) => `${bucket}/${key}`.startsWith(folder));
    const name = textIn(service, 'name');
    return isInput && name !== undefined ? [name] : [];
  });
}

/** Paths that uploads start runs below, for a message. */
export function allInputFolders(services: readonly JsonRecord[]): string[] {
  return [...new Set(services.flatMap(inputFolders))];
}

/** `bucket/folder/` of each input in the server's own store. */
function inputFolders(service: JsonRecord): string[] {
  return listIn(service['input'], '"input"').flatMap((item) => {
    const io = record(item, 'an entry of "input"');
    const path = trimPath(textIn(io, 'path') ?? '');
    return /^minio(\.default)?$/i.test(textIn(io, 'storage_provider') ?? '') && path !== ''
      ? [`${path}/`]
      : [];
  });
}
