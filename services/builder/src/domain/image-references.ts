import {
  parseImage,
  parseImagePrefix,
  type ImagePrefix,
  type ImageReference,
} from '@sluice/shared/contracts';

/** A definition, as far as it says which image it uses. */
export interface ImageUser {
  readonly service: string;
  readonly image: string;
}

/** What of one user's repository is used, and by which services. */
export interface UsedImages {
  readonly tags: ReadonlyMap<string, readonly string[]>;
  readonly digests: ReadonlyMap<string, readonly string[]>;
}

const nothing: UsedImages = { tags: new Map(), digests: new Map() };

/**
 * Reads which images of a registry services use, by user.
 * @param hosts all names that the registry has: as images are pushed, as clusters pull them; a path may follow (`registry.example/team`)
 */
export function usedImages(
  definitions: Iterable<ImageUser>,
  hosts: readonly string[],
): (user: string) => UsedImages {
  const byUser = new Map<string, { tags: Map<string, string[]>; digests: Map<string, string[]> }>();
  for (const { service, reference, path } of imagesOf(definitions, hosts)) {
    const [user, ...deeper] = path;
    if (user === undefined || deeper.length > 0) continue;
    const used = byUser.get(user) ?? { tags: new Map(), digests: new Map() };
    byUser.set(user, used);
    if (reference.digest !== undefined) add(used.digests, reference.digest, service);
    // With both, runtimes go by the digest; the tag is spared all the same: people read it.
    if (reference.tag !== undefined || reference.digest === undefined)
      add(used.tags, reference.tag ?? 'latest', service);
  }
  return (user) => byUser.get(user) ?? nothing;
}

/** Digests that services name, by their repository within the registry (`anna`, `library/base`), whoever's it is. */
export function pinnedDigests(
  definitions: Iterable<ImageUser>,
  hosts: readonly string[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const pinned = new Map<string, Set<string>>();
  for (const { reference, path } of imagesOf(definitions, hosts)) {
    if (reference.digest === undefined) continue;
    const repository = path.join('/');
    pinned.set(repository, (pinned.get(repository) ?? new Set()).add(reference.digest));
  }
  return pinned;
}

interface FoundImage {
  readonly service: string;
  readonly reference: ImageReference;
  /** Below the registry's own path. */
  readonly path: readonly string[];
}

function* imagesOf(definitions: Iterable<ImageUser>, hosts: readonly string[]): Generator<FoundImage> {
  const prefixes = hosts.flatMap((host) => parseImagePrefix(host) ?? []);
  for (const { service, image } of definitions) {
    const reference = parseImage(image);
    if (reference === undefined) continue;
    for (const prefix of prefixes) {
      const path = pathBelow(reference, prefix);
      if (path !== undefined) yield { service, reference, path };
    }
  }
}

function pathBelow(image: ImageReference, prefix: ImagePrefix): readonly string[] | undefined {
  const { registry, repository } = image;
  if (registry !== prefix.registry) return undefined;
  // `docker.io/anna` is read as `docker.io/library/anna`.
  const isLibrary = registry === 'docker.io' && repository.length === 2 && repository[0] === 'library';
  const own = prefix.repository.length === 0 && isLibrary ? ['library'] : prefix.repository;
  if (repository.length <= own.length) return undefined;
  return own.every((segment, index) => segment === repository[index])
    ? repository.slice(own.length)
    : undefined;
}

function add(map: Map<string, string[]>, key: string, service: string): void {
  const services = map.get(key);
  if (services === undefined) map.set(key, [service]);
  else if (!services.includes(service)) services.push(service);
}
