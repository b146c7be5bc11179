import type { DefinitionStore } from '@sluice/shared/stores';
import { usedImages, type ImageUser, type UsedImages } from '../domain/image-references.ts';
import type { BuildStore } from '../ports.ts';

/** What is wanted of users' images at a moment. */
export interface ImageDemand {
  readonly definitions: readonly ImageUser[];
  used(user: string): UsedImages;
  /** Tags that builds under way, and tickets that wait for them, are going to set. */
  openTags(user: string): ReadonlySet<string>;
}

export interface ImageDemandDeps {
  readonly definitions: Pick<DefinitionStore, 'list'>;
  readonly builds: Pick<BuildStore, 'open' | 'ticket'>;
  /** All names of the registry. */
  readonly hosts: readonly string[];
}

const pageSize = 500;

/** Asks who wants which image now. All or nothing: with half of an answer, images that are in use would go. */
export async function readDemand(deps: ImageDemandDeps): Promise<ImageDemand> {
  // Builds first: one that ends meanwhile may become a definition's image, and is then seen there.
  const openTags = await readOpenTags(deps.builds);
  const definitions = await readDefinitions(deps.definitions);
  return {
    definitions,
    used: usedImages(definitions, deps.hosts),
    openTags: (user) => openTags.get(user) ?? new Set(),
  };
}

async function readDefinitions(store: ImageDemandDeps['definitions']): Promise<readonly ImageUser[]> {
  const found: ImageUser[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list({ limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
    for (const { name, definition } of page.items) found.push({ service: name, image: definition.image });
    cursor = page.next;
  } while (cursor !== undefined);
  return found;
}

async function readOpenTags(
  builds: ImageDemandDeps['builds'],
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const tags = new Map<string, Set<string>>();
  const add = (user: string, tag: string): void => {
    tags.set(user, (tags.get(user) ?? new Set()).add(tag));
  };
  for (const { spec, tickets } of await builds.open()) {
    add(spec.user, spec.contentTag);
    for (const id of tickets) {
      const target = (await builds.ticket(spec.user, id))?.target;
      const colon = target?.indexOf(':') ?? -1;
      if (target !== undefined && colon >= 0) add(spec.user, target.slice(colon + 1));
    }
  }
  return tags;
}
