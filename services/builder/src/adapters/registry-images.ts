import type { RegistryClient } from '@sluice/shared/adapters';
import { AppError } from '@sluice/shared/errors';
import { imageEpochSeconds } from '../domain/build-arguments.ts';
import type { ImageDetails, ImageRegistry } from '../ports.ts';

export interface ImageRegistryDeps {
  readonly client: Pick<
    RegistryClient,
    'imageFacts' | 'imageDetails' | 'headManifest' | 'listTags' | 'putTag' | 'deleteTag'
  >;
  /** Tags of a repository that are listed; of a fuller one nothing is listed rather than a part. @default 10000 */
  readonly maxTags?: number;
}

/** Images of a registry as the builder sees them. */
export function createImageRegistry({ client, maxTags = 10_000 }: ImageRegistryDeps): ImageRegistry {
  return {
    baseFacts: (reference) => client.imageFacts(reference),
    digestOf: async (reference) => (await client.headManifest(reference))?.digest,
    details: (reference) => details(client, reference),
    tag: (repository, digest, tag) => client.putTag(repository, digest, tag),
    tags: (repository) => allTags(client, repository, maxTags),
    removeTag: (repository, tag) => client.deleteTag(repository, tag),
  };
}

/** Images that we built all say the same moment, which is none of theirs: taken for their age, retention would remove them at once. */
async function details(
  client: ImageRegistryDeps['client'],
  reference: string,
): Promise<ImageDetails | undefined> {
  const found = await client.imageDetails(reference);
  if (found === undefined || found.createdAt !== imageEpochSeconds * 1000) return found;
  return { ...found, createdAt: undefined };
}

async function allTags(
  client: Pick<RegistryClient, 'listTags'>,
  repository: string,
  maxTags: number,
): Promise<readonly string[]> {
  const tags = new Set<string>();
  let after: string | undefined;
  for (let pages = 0; ; pages += 1) {
    const page = await client.listTags(repository, after === undefined ? {} : { after });
    for (const tag of page.tags) tags.add(tag);
    if (tags.size > maxTags) {
      throw new AppError(
        'too_large',
        `The repository ${repository} has more than ${maxTags} tags; remove some at the registry.`,
      );
    }
    if (page.next === undefined) return [...tags];
    if (page.next === after || pages > maxTags) {
      throw new AppError('unavailable', `The list of tags of ${repository} has no end.`);
    }
    after = page.next;
  }
}
