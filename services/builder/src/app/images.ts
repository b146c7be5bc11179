import { parseImage, type BuildCaller, type BuiltImage, type ImageReference } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { DefinitionStore } from '@sluice/shared/stores';
import type { CollectionState } from '../clean-up-ports.ts';
import { isContentTag } from '../domain/build-key.ts';
import { labelNames } from '../domain/image-labels.ts';
import { nameOf } from '../domain/request.ts';
import { isKeepingTag } from '../domain/retention.ts';
import type { ImageDetails, Registries, UserRegistry } from '../ports.ts';
import { change } from './during-collection.ts';

export interface ImagesDeps {
  readonly registries: Registries;
  readonly definitions: Pick<DefinitionStore, 'list'>;
  readonly collection: Pick<CollectionState, 'underWay'>;
}

export interface Images {
  list(caller: BuildCaller): Promise<readonly BuiltImage[]>;
  get(caller: BuildCaller, tag: string): Promise<BuiltImage | undefined>;
  /** @throws AppError `not_found`; `conflict` while a service uses it, unless `force` */
  remove(caller: BuildCaller, tag: string, force: boolean): Promise<void>;
  /** Bytes, parts that images share counted once. */
  bytes(caller: BuildCaller): Promise<{ readonly images: number; readonly bytes: number }>;
}

const tagForm = /^\w[\w.-]{0,127}$/;
/** Images that are asked about at once. */
const atOnce = 8;
const definitionsPage = 500;

/** Tags that nobody asked for: they name contents, and keep what services pin. */
const isOurs = (tag: string): boolean => isContentTag(tag) || isKeepingTag(tag);

export function createImages({ registries, definitions, collection }: ImagesDeps): Images {
  const get = async (caller: BuildCaller, tag: string): Promise<BuiltImage | undefined> => {
    // It becomes part of an address.
    if (!tagForm.test(tag) || isOurs(tag)) return undefined;
    const home = registries.of(caller);
    const details = await home.images.details(`${home.repository}:${tag}`);
    return details === undefined ? undefined : toImage(home, tag, details, await usesOf(definitions, home));
  };
  return {
    get,
    list: async (caller) => {
      const home = registries.of(caller);
      const [found, uses] = await Promise.all([detailsOf(home), usesOf(definitions, home)]);
      return found
        .filter(({ tag }) => !isOurs(tag))
        .map(({ tag, details }) => toImage(home, tag, details, uses))
        .toSorted((a, b) => (b.created_at ?? 0) - (a.created_at ?? 0) || (a.tag < b.tag ? -1 : 1));
    },
    remove: async (caller, tag, force) => {
      const image = await get(caller, tag);
      if (image === undefined) throw new AppError('not_found', `There is no image with the tag ${tag}.`);
      if (image.used_by.length > 0 && !force) {
        throw new AppError(
          'conflict',
          `The image is used by ${image.used_by.join(', ')}. Change these services first, or say force=true.`,
        );
      }
      const { images, repository } = registries.of(caller);
      await change(collection, async () => images.removeTag(repository, tag));
    },
    bytes: async (caller) => {
      const found = await detailsOf(registries.of(caller));
      const parts = new Map(
        found.flatMap(({ details }) => details.parts.map(({ digest, size }) => [digest, size] as const)),
      );
      const images = new Set(found.map(({ details }) => details.digest)).size;
      return { images, bytes: [...parts.values()].reduce((sum, size) => sum + size, 0) };
    },
  };
}

async function detailsOf({
  images,
  repository,
}: UserRegistry): Promise<readonly { readonly tag: string; readonly details: ImageDetails }[]> {
  const tags = [...(await images.tags(repository))];
  const found: { readonly tag: string; readonly details: ImageDetails }[] = [];
  const work = async (): Promise<void> => {
    for (let tag = tags.pop(); tag !== undefined; tag = tags.pop()) {
      // One that went meanwhile is not in the list.
      const details = await images.details(`${repository}:${tag}`);
      if (details !== undefined) found.push({ tag, details });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return found;
}

/** Which services name an image of this repository, by tag and by digest. */
async function usesOf(
  definitions: ImagesDeps['definitions'],
  { repository, pullRepository }: UserRegistry,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = new Set([repository, pullRepository].map(canonical));
  const uses = new Map<string, string[]>();
  let cursor: string | undefined;
  do {
    const page = await definitions.list({
      limit: definitionsPage,
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const { name, definition } of page.items) {
      const image = parseImage(definition.image);
      if (image === undefined || !names.has(nameOf(image))) continue;
      const version = image.digest ?? image.tag ?? 'latest';
      uses.set(version, [...(uses.get(version) ?? []), name]);
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return uses;
}

function canonical(repository: string): string {
  const image: ImageReference | undefined = parseImage(repository);
  return image === undefined ? repository : nameOf(image);
}

function toImage(
  { pullRepository }: UserRegistry,
  tag: string,
  { digest, size, createdAt, labels }: ImageDetails,
  uses: ReadonlyMap<string, readonly string[]>,
): BuiltImage {
  return {
    tag,
    image: `${pullRepository}:${tag}`,
    digest,
    size,
    created_at: createdAt,
    kind: labels[labelNames.kind],
    source: labels[labelNames.base],
    base_digest: labels[labelNames.baseDigest],
    requirements: labels[labelNames.requirements],
    used_by: [...new Set([...(uses.get(tag) ?? []), ...(uses.get(digest) ?? [])])].toSorted(),
  };
}
