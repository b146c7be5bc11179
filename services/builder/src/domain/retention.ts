import type { UsedImages } from './image-references.ts';

/** A tag of a user's repository, with what is known of the image behind it. Times are epoch milliseconds. */
export interface HeldImage {
  readonly tag: string;
  readonly digest: string;
  /** Digests of the manifests that it is made of, where it is an index: a definition may name one of them. */
  readonly parts: readonly string[];
  readonly createdAt: number | undefined;
  /** A definition referred to it then, or a ticket was answered with it. */
  readonly lastUsedAt: number | undefined;
}

/** Which images of a user go. Undefined: that rule is off. */
export interface RetentionPolicy {
  /** Milliseconds in which an image stays whatever the rules say, from when it was made or last used. */
  readonly minAgeMs: number;
  /** Images that were made longer ago go. */
  readonly maxAgeMs: number | undefined;
  /** Images that nobody used for longer go. */
  readonly unusedMs: number | undefined;
  /** Images that nobody uses go beyond that many, those first that were made or used longest ago. Tags of one image count once. */
  readonly keep: number | undefined;
}

/** What must stay. */
export interface Protection {
  readonly used: UsedImages;
  /** Tags that a build under way, or a ticket that waits for it, is going to set. */
  readonly openTags: ReadonlySet<string>;
}

export interface TagVerdict {
  readonly tag: string;
  readonly digest: string;
  readonly why: string;
}

export interface RetentionPlan {
  readonly remove: readonly TagVerdict[];
  /** Of all that stay; `spared`: the rules would have taken it. */
  readonly keep: readonly (TagVerdict & { readonly spared: boolean })[];
}

/** All tags of one digest: they share their fate, since the space is free only without the last of them. */
interface Group {
  readonly digest: string;
  readonly tags: readonly HeldImage[];
  readonly createdAt: number | undefined;
  /** When it was made or last used, whichever is later; undefined where neither is known. */
  readonly freshAt: number | undefined;
}

/** Decides which of a user's images go. An image of unknown age stays: whoever asks notes when it saw it first. */
export function planRetention(
  images: readonly HeldImage[],
  policy: RetentionPolicy,
  protection: Protection,
  now: number,
): RetentionPlan {
  const groups = [...Map.groupBy(images, ({ digest }) => digest)].map(([digest, tags]) =>
    groupOf(digest, tags),
  );
  const newestFirst = [...groups].sort(
    (a, b) => (b.freshAt ?? now) - (a.freshAt ?? now) || (a.digest < b.digest ? -1 : 1),
  );
  const remove: TagVerdict[] = [];
  const keep: RetentionPlan['keep'][number][] = [];
  let rank = 0;
  for (const group of newestFirst) {
    const inUse = useOf(group, protection);
    const wanted = reasonToGo(group, rank, policy, now);
    const stays = inUse ?? ageToStay(group, policy, now);
    if (inUse === undefined) rank += 1;
    for (const { tag, digest } of group.tags) {
      if (wanted !== undefined && stays === undefined) remove.push({ tag, digest, why: wanted });
      else keep.push({ tag, digest, why: stays ?? 'within the limits', spared: wanted !== undefined });
    }
  }
  return { remove, keep };
}

function groupOf(digest: string, tags: readonly HeldImage[]): Group {
  const createdAt = latest(tags.map((image) => image.createdAt));
  const freshAt = latest([createdAt, ...tags.map(({ lastUsedAt }) => lastUsedAt)]);
  return { digest, tags, createdAt, freshAt };
}

function latest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function reasonToGo(group: Group, rank: number, policy: RetentionPolicy, now: number): string | undefined {
  const { maxAgeMs, unusedMs, keep } = policy;
  const madeAt = group.createdAt ?? group.freshAt;
  if (maxAgeMs !== undefined && madeAt !== undefined && now - madeAt > maxAgeMs)
    return `made ${age(now - madeAt)} ago`;
  if (unusedMs !== undefined && group.freshAt !== undefined && now - group.freshAt > unusedMs)
    return `not used for ${age(now - group.freshAt)}`;
  if (keep !== undefined && rank >= keep) return `more than ${keep} images`;
  return undefined;
}

/** Why it must stay however old it is. */
function useOf(group: Group, { used, openTags }: Protection): string | undefined {
  const services = new Set<string>();
  for (const { tag, digest, parts } of group.tags) {
    for (const service of used.tags.get(tag) ?? []) services.add(service);
    for (const part of [digest, ...parts])
      for (const service of used.digests.get(part) ?? []) services.add(service);
  }
  if (services.size > 0) return `used by ${named([...services].sort())}`;
  const open = group.tags.find(({ tag }) => openTags.has(tag));
  return open === undefined ? undefined : `a build under way sets ${open.tag}`;
}

function ageToStay(group: Group, policy: RetentionPolicy, now: number): string | undefined {
  if (group.freshAt === undefined) return 'of unknown age';
  if (now - group.freshAt < policy.minAgeMs) return `made or used less than ${age(policy.minAgeMs)} ago`;
  return undefined;
}

const namedServices = 3;

/** `service a`, `services a, b, c and 4 more` */
function named(services: readonly string[]): string {
  const word = services.length === 1 ? 'service' : 'services';
  const rest = services.length - namedServices;
  return `${word} ${services.slice(0, namedServices).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** In the largest unit that fits: `3 days`, `5 hours`, `1 minute`. */
function age(ms: number): string {
  const units = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
  ] as const;
  for (const [unit, length] of units) {
    const count = Math.floor(ms / length);
    if (count >= 1) return `${count} ${unit}${count === 1 ? '' : 's'}`;
  }
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${seconds} second${seconds === 1 ? '' : 's'}`;
}

/** The tag that keeps an image which a service names by its digest only. Retention takes it when no service does any more. */
export function keepingTag(digest: string): string {
  return `in-use-${(digest.split(':')[1] ?? '').slice(0, 20)}`;
}

export function isKeepingTag(tag: string): boolean {
  return /^in-use-[0-9a-f]{20}$/.test(tag);
}
