import { expect, test } from 'vitest';
import type { ImageDetails } from '../ports.ts';
import { createImageRegistry, type ImageRegistryDeps } from './registry-images.ts';

type Page = Awaited<ReturnType<ImageRegistryDeps['client']['listTags']>>;

function openWith(
  pages: Readonly<Record<string, Page>>,
  maxTags?: number,
  details?: ImageDetails,
): ReturnType<typeof createImageRegistry> {
  const nobody = (): never => {
    throw new Error('not asked here');
  };
  const client: ImageRegistryDeps['client'] = {
    imageFacts: nobody,
    imageDetails: () => Promise.resolve(details),
    headManifest: nobody,
    putTag: nobody,
    deleteTag: nobody,
    listTags: (_repository, page) => Promise.resolve(pages[page?.after ?? ''] ?? { tags: [] }),
  };
  return createImageRegistry({ client, ...(maxTags === undefined ? {} : { maxTags }) });
}

test("the moment that all built images name is no image's age", async () => {
  const details = { digest: 'd', size: 1, parts: [], labels: {} };
  for (const [createdAt, expected] of [
    [Date.UTC(2020, 0, 1), undefined],
    [Date.UTC(2020, 0, 2), Date.UTC(2020, 0, 2)],
    [undefined, undefined],
  ]) {
    const registry = openWith({}, undefined, { ...details, createdAt });
    expect(await registry.details('r/x:1')).toEqual({ ...details, createdAt: expected });
  }
});

test('all pages are read', async () => {
  const registry = openWith({ '': { tags: ['a', 'b'], next: 'p2' }, p2: { tags: ['b', 'c'] } });
  expect(await registry.tags('r/x')).toEqual(['a', 'b', 'c']);
});

test('a registry that turns in circles', async () => {
  const pages = { '': { tags: ['a'], next: 'p2' }, p2: { tags: ['a'], next: 'p2' } };
  await expect(openWith(pages).tags('r/x')).rejects.toMatchObject({ code: 'unavailable' });
});

test('a part of the tags is never taken for all', async () => {
  const pages = { '': { tags: ['a', 'b'], next: 'p2' }, p2: { tags: ['c'] } };
  await expect(openWith(pages, 2).tags('r/x')).rejects.toMatchObject({ code: 'too_large' });
});
