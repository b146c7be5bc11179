import type { BucketPath } from '@sluice/shared/stores';

/** A service and the paths that it takes its input from. */
export interface InputService {
  readonly name: string;
  readonly uid: string;
  readonly inputs: readonly BucketPath[];
}

/** Services by bucket and prefix, for looking up one object among any number of services. */
export type ServiceIndex<S extends InputService = InputService> = ReadonlyMap<
  string,
  ReadonlyMap<string, readonly S[]>
>;

/** A service that wants an object, and the input path by which it does (the longest, where several cover the object). */
export interface Match<S extends InputService = InputService> {
  readonly service: S;
  readonly path: BucketPath;
}

export function createServiceIndex<S extends InputService>(services: Iterable<S>): ServiceIndex<S> {
  const buckets = new Map<string, Map<string, S[]>>();
  for (const service of services) {
    for (const { bucket, prefix } of service.inputs) {
      const prefixes = buckets.get(bucket) ?? new Map<string, S[]>();
      buckets.set(bucket, prefixes);
      const sharing = prefixes.get(prefix) ?? [];
      prefixes.set(prefix, sharing);
      if (!sharing.includes(service)) sharing.push(service);
    }
  }
  return buckets;
}

/** Every path that some service takes input from, each once. */
export function inputPaths(index: ServiceIndex): readonly BucketPath[] {
  return [...index].flatMap(([bucket, prefixes]) =>
    [...prefixes.keys()].map((prefix) => ({ bucket, prefix })),
  );
}

/**
 * Whether a key below an input prefix is an input. Not: the folder marker of the prefix or of a sub-folder (a key that ends
 * with `/`), and keys with a part that begins with a dot below the prefix. Those are other programs' temporary files
 * (rsync, editors, browsers, `.DS_Store`), which would be run half-written or for nothing. Dots in the prefix itself are fine.
 */
export function isInputKey(prefix: string, key: string): boolean {
  if (!key.startsWith(prefix) || key.endsWith('/')) return false;
  const rest = key.slice(prefix.length);
  return rest !== '' && !rest.startsWith('.') && !rest.includes('/.');
}

/** The services that want an object, each once. Costs a look-up for each folder of the key, however many services there are. */
export function matchServices<S extends InputService>(
  index: ServiceIndex<S>,
  bucket: string,
  key: string,
): readonly Match<S>[] {
  const prefixes = index.get(bucket);
  if (prefixes === undefined) return [];
  const found = new Map<string, Match<S>>();
  for (let end = 0; end >= 0; end = nextFolder(key, end)) {
    const prefix = key.slice(0, end);
    const services = prefixes.get(prefix);
    if (services === undefined || !isInputKey(prefix, key)) continue;
    for (const service of services) found.set(service.uid, { service, path: { bucket, prefix } });
  }
  return [...found.values()];
}

/** Length of the next longer folder prefix of a key, its slash included; -1 behind the last. */
function nextFolder(key: string, from: number): number {
  const slash = key.indexOf('/', from);
  return slash < 0 ? -1 : slash + 1;
}
