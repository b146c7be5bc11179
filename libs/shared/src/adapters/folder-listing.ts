import { isObjectKey, type ObjectInfo, type ObjectStore } from '../stores/index.ts';
import { readError } from './folder-errors.ts';
import { bucketPlace, openForReading, type Roots } from './folder-place.ts';
import { startWalk, type Walk, type WalkDeps } from './folder-walk.ts';
import { checkLimit } from './page-limit.ts';

interface Query {
  readonly bucket: string;
  readonly prefix: string;
  readonly after: string | undefined;
}

const usagePage = 256;

/** The store's `list` and `usage`. */
export function createListing(
  deps: WalkDeps & { readonly roots: Roots },
): Pick<ObjectStore, 'list' | 'usage'> {
  return {
    list: async (bucket, { prefix, after, limit }) => {
      checkLimit(limit);
      const page = await walkOver(deps, { bucket, prefix, after }, async (walk) => takePage(walk, limit));
      return page ?? { objects: [] };
    },
    usage: async (bucket, limit) => {
      const none = { bytes: 0, objects: 0, complete: true };
      const query = { bucket, prefix: '', after: undefined };
      return (await walkOver(deps, query, async (walk) => count(walk, limit))) ?? none;
    },
  };
}

/** Undefined where no key can have the prefix, or its folder does not exist. */
async function walkOver<T>(
  deps: WalkDeps & { readonly roots: Roots },
  { bucket, prefix, after }: Query,
  work: (walk: Walk) => Promise<T>,
): Promise<T | undefined> {
  const place = bucketPlace(deps.roots, bucket);
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  // `a//b` or `../x`: nothing that could be listed begins so.
  const possible = base === '' || isObjectKey(base);
  const folders = base === '' || !possible ? [] : base.slice(0, -1).split('/');
  try {
    const start = await openForReading(deps.directories, deps.roots, {
      ...place,
      bucket,
      parts: [...place.parts, ...folders],
    });
    if (start === undefined) return undefined;
    if (!possible) {
      await start.release();
      return undefined;
    }
    const walk = await startWalk(deps, { bucket, start, base, namePrefix: prefix.slice(base.length), after });
    try {
      return await work(walk);
    } finally {
      await walk.close();
    }
  } catch (error) {
    throw readError(error, `list the bucket "${bucket}"`);
  }
}

async function takePage(
  walk: Walk,
  limit: number,
): Promise<{ objects: readonly ObjectInfo[]; next?: string }> {
  const objects: ObjectInfo[] = [];
  // One more than asked for tells whether this is the last page.
  while (objects.length <= limit) {
    const more = await walk.next(limit + 1 - objects.length);
    if (more.length === 0) return { objects };
    objects.push(...more);
  }
  const page = objects.slice(0, limit);
  const next = page.at(-1)?.key;
  if (next === undefined) return { objects: page };
  walk.paused(next);
  return { objects: page, next };
}

async function count(
  walk: Walk,
  limit: number,
): Promise<{ bytes: number; objects: number; complete: boolean }> {
  let bytes = 0;
  let objects = 0;
  for (;;) {
    const more = await walk.next(usagePage);
    if (more.length === 0) return { bytes, objects, complete: true };
    for (const { size } of more) {
      if (objects >= limit) return { bytes, objects, complete: false };
      bytes += size;
      objects += 1;
    }
  }
}
