import type { ServiceDefinition, StorageIO } from '@sluice/shared/contracts';
import { splitPath, type BucketPath } from '@sluice/shared/stores';

/** The provider that this installation reads from and writes to. */
export const ownProvider = 'minio.default';

/** `name[.id]`, split at the first dot; the name in lower case, the id `default` where it is not given (OSCAR §1.2). */
export function providerOf(text: string): { readonly name: string; readonly id: string } {
  const trimmed = text.trim();
  const dot = trimmed.indexOf('.');
  const name = (dot < 0 ? trimmed : trimmed.slice(0, dot)).toLowerCase();
  const id = dot < 0 ? '' : trimmed.slice(dot + 1);
  return { name, id: id === '' ? 'default' : id };
}

/** Whether an input or output lies in the installation's own buckets. */
export function isOwn(io: Pick<StorageIO, 'storage_provider'>): boolean {
  const { name, id } = providerOf(io.storage_provider);
  return `${name}.${id}` === ownProvider;
}

/**
 * OSCAR §1.2, step 3: no outer spaces and slashes; on S3-like providers a path without a slash lies in the service's own bucket.
 * The result may be empty, which the caller refuses.
 */
export function normalisePath(service: string, io: Pick<StorageIO, 'storage_provider' | 'path'>): string {
  const path = io.path.replace(/^[\s/]+|[\s/]+$/g, '');
  const { name } = providerOf(io.storage_provider);
  const inBuckets = name === 'minio' || name === 's3';
  return inBuckets && path !== '' && !path.includes('/') ? `${service}/${path}` : path;
}

/** Where a stored definition reads and writes, by its own provider. */
export function ownPaths(list: readonly StorageIO[]): BucketPath[] {
  return list.filter((io) => isOwn(io)).map((io) => splitPath(io.path));
}

/** Input and output folders of a stored definition, each once. */
export function foldersOf(definition: Pick<ServiceDefinition, 'input' | 'output'>): BucketPath[] {
  const all = [...ownPaths(definition.input), ...ownPaths(definition.output)];
  return [...new Map(all.map((path) => [`${path.bucket}/${path.prefix}`, path])).values()];
}

/** Buckets of a stored definition, each once. */
export function bucketsOf(definition: Pick<ServiceDefinition, 'input' | 'output'>): string[] {
  return [...new Set(foldersOf(definition).map(({ bucket }) => bucket))];
}
