import type { ImageUses } from '../clean-up-ports.ts';
import {
  planRetention,
  type HeldImage,
  type RetentionPlan,
  type RetentionPolicy,
} from '../domain/retention.ts';
import type { ImageRegistry } from '../ports.ts';
import { eachOf } from './each-of.ts';
import type { ImageDemand } from './image-demand.ts';

/** Entries of a report, as they come. */
export interface PruneNotes {
  /** The registry answered. */
  answered(): void;
  /** What all images of a user take. */
  measured(bytes: number): void;
  removed(image: string, why: string): void;
  kept(image: string, why: string): void;
  failed(image: string, error: unknown): void;
  /** Whether there were so many failures without an answer between them that the registry is away. */
  isHopeless(): boolean;
}

export interface PruneUserDeps {
  readonly registry: Pick<ImageRegistry, 'tags' | 'digestOf' | 'details' | 'removeTag'>;
  readonly uses: ImageUses;
  /** Where users' repositories are pushed: `registry:5000`. */
  readonly pushHost: string;
  readonly policy: RetentionPolicy;
  /** Milliseconds that a cache is kept without builds; undefined: for ever. */
  readonly cacheUnusedMs: number | undefined;
  readonly now: () => number;
  /** What is wanted now, at most a few seconds old. */
  readonly demand: () => Promise<ImageDemand>;
  readonly notes: PruneNotes;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/** Requests to the registry at the same time. */
const inFlight = 4;

/** Applies the policy to the images of one user. */
export async function pruneImages(deps: PruneUserDeps, user: string): Promise<void> {
  const { uses, notes, dryRun, signal } = deps;
  const found = await findImages(deps, user);
  let demand: ImageDemand | undefined;
  let plan: RetentionPlan | undefined;
  let going = new Set<string>();
  const refresh = async (): Promise<RetentionPlan> => {
    const current = await deps.demand();
    if (plan !== undefined && current === demand) return plan;
    demand = current;
    const lastUses = await uses.of(user);
    const images = found.map((image) => ({ ...image, lastUsedAt: lastUses.get(image.digest) }));
    const protection = { used: current.used(user), openTags: current.openTags(user) };
    plan = planRetention(images, deps.policy, protection, deps.now());
    going = new Set(plan.remove.map(({ tag }) => tag));
    return plan;
  };
  const { remove, keep } = await refresh();
  // Afterwards, so that a trial and what follows it say the same.
  if (!dryRun) await noteUses(deps, user, found);
  for (const { tag, why, spared } of keep) if (spared) notes.kept(`${user}:${tag}`, why);
  for (const { tag, digest, why } of remove) {
    signal.throwIfAborted();
    await refresh();
    // Since the list was made, somebody began to use it, …
    if (!going.has(tag)) {
      notes.kept(`${user}:${tag}`, 'used just now');
      continue;
    }
    try {
      if (dryRun || (await removeImage(deps, user, tag, digest))) notes.removed(`${user}:${tag}`, why);
      else notes.kept(`${user}:${tag}`, 'names another image now');
    } catch (error) {
      fail(notes, `${user}:${tag}`, error);
    }
  }
}

function fail(notes: PruneNotes, image: string, error: unknown): void {
  notes.failed(image, error);
  if (notes.isHopeless()) throw error;
}

async function removeImage(deps: PruneUserDeps, user: string, tag: string, digest: string): Promise<boolean> {
  const repository = repositoryOf(deps, user);
  // … or a build gave the tag to another image.
  const current = await deps.registry.digestOf(`${repository}:${tag}`);
  if (current !== undefined && current !== digest) return false;
  await deps.registry.removeTag(repository, tag);
  return true;
}

function repositoryOf({ pushHost }: PruneUserDeps, user: string): string {
  return `${pushHost}/${user}`;
}

type FoundImage = Omit<HeldImage, 'lastUsedAt'>;

/** All tags with what they name; each digest is looked at once. One that cannot be read is told of and stays. */
async function findImages(deps: PruneUserDeps, user: string): Promise<readonly FoundImage[]> {
  const { registry, notes, signal } = deps;
  const repository = repositoryOf(deps, user);
  const digests = new Map<string, string>();
  const tags = await registry.tags(repository);
  await eachOf(tags, inFlight, signal, async (tag) => {
    try {
      const digest = await registry.digestOf(`${repository}:${tag}`);
      notes.answered();
      if (digest !== undefined) digests.set(tag, digest);
    } catch (error) {
      fail(notes, `${user}:${tag}`, error);
    }
  });
  const details = new Map<string, Pick<FoundImage, 'parts' | 'createdAt'>>();
  const sizes = new Map<string, number>();
  await eachOf([...new Set(digests.values())], inFlight, signal, async (digest) => {
    try {
      const known = await registry.details(`${repository}@${digest}`);
      notes.answered();
      if (known === undefined) return;
      for (const part of known.parts) sizes.set(part.digest, part.size);
      details.set(digest, { parts: known.parts.map((part) => part.digest), createdAt: known.createdAt });
    } catch (error) {
      fail(notes, `${user}@${digest}`, error);
    }
  });
  notes.measured([...sizes.values()].reduce((sum, size) => sum + size, 0));
  return tags.flatMap((tag) => {
    const digest = digests.get(tag);
    const known = details.get(digest ?? '');
    return digest === undefined || known === undefined ? [] : [{ tag, digest, ...known }];
  });
}

/** Images that services use are used now; what tells no age is seen now for the first time; what is gone is forgotten. */
async function noteUses(deps: PruneUserDeps, user: string, found: readonly FoundImage[]): Promise<void> {
  const { uses, policy } = deps;
  const used = (await deps.demand()).used(user);
  const known = await uses.of(user);
  const now = deps.now();
  const seen = found.filter(
    ({ tag, digest, parts, createdAt }) =>
      used.tags.has(tag) ||
      [digest, ...parts].some((part) => used.digests.has(part)) ||
      (createdAt === undefined && !known.has(digest)),
  );
  await uses.note(user, [...new Set(seen.map(({ digest }) => digest))], now);
  const present = new Set(found.map(({ digest }) => digest));
  // A young note may be of an image that was pushed after the list was made.
  const gone = [...known].filter(
    ([item, at]) => !item.startsWith(cachePrefix) && !present.has(item) && now - at > policy.minAgeMs,
  );
  await uses.forget(
    user,
    gone.map(([item]) => item),
  );
}

const cachePrefix = 'cache:';

/** Removes layer caches of kinds that the user has not built for long. */
export async function pruneCaches(deps: PruneUserDeps, user: string): Promise<void> {
  const { registry, uses, notes, cacheUnusedMs, dryRun, signal } = deps;
  if (cacheUnusedMs === undefined) return;
  const repository = `${repositoryOf(deps, user)}/cache`;
  const lastUses = await uses.of(user);
  for (const kind of await registry.tags(repository)) {
    signal.throwIfAborted();
    const item = `${cachePrefix}${kind}`;
    const lastUse = lastUses.get(item);
    const image = `${user}/${item}`;
    try {
      if (lastUse === undefined) {
        // A cache does not tell its age.
        if (!dryRun) await uses.note(user, [item], deps.now());
      } else if (deps.now() - lastUse > cacheUnusedMs) {
        const isOpen = (await deps.demand()).openTags(user).size > 0;
        if (isOpen) notes.kept(image, 'a build of this user is under way');
        if (isOpen) continue;
        if (!dryRun) {
          await registry.removeTag(repository, kind);
          await uses.forget(user, [item]);
        }
        notes.removed(image, 'no build used the cache for long');
      }
    } catch (error) {
      fail(notes, image, error);
    }
  }
}
