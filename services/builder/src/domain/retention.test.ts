import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { UsedImages } from './image-references.ts';
import {
  isKeepingTag,
  keepingTag,
  planRetention,
  type HeldImage,
  type Protection,
  type RetentionPolicy,
} from './retention.ts';

const day = 86_400_000;
const now = 1000 * day;
const off: RetentionPolicy = { minAgeMs: day, maxAgeMs: undefined, unusedMs: undefined, keep: undefined };

function image(tag: string, daysOld: number | undefined, change: Partial<HeldImage> = {}): HeldImage {
  const createdAt = daysOld === undefined ? undefined : now - daysOld * day;
  return { tag, digest: `sha256:${tag}`, parts: [], createdAt, lastUsedAt: undefined, ...change };
}

function usedBy(tags: Record<string, string[]>, digests: Record<string, string[]> = {}): UsedImages {
  return { tags: new Map(Object.entries(tags)), digests: new Map(Object.entries(digests)) };
}

function protect(used = usedBy({}), openTags: readonly string[] = []): Protection {
  return { used, openTags: new Set(openTags) };
}

function removed(images: readonly HeldImage[], policy: RetentionPolicy, protection = protect()) {
  return Object.fromEntries(
    planRetention(images, policy, protection, now).remove.map(({ tag, why }) => [tag, why]),
  );
}

test('without a rule nothing goes', () => {
  expect(removed([image('old', 900)], off)).toEqual({});
});

test('by age, from when it was made', () => {
  const images = [
    image('old', 31),
    image('edge', 30),
    image('new', 2),
    image('used', 40, { lastUsedAt: now - 3 * day }),
  ];
  expect(removed(images, { ...off, maxAgeMs: 30 * day })).toEqual({
    old: 'made 31 days ago',
    used: 'made 40 days ago',
  });
});

test('by last use, which is never before it was made', () => {
  const images = [
    image('idle', 40, { lastUsedAt: now - 35 * day }),
    image('used', 40, { lastUsedAt: now - 3 * day }),
    image('never', 40),
    image('made', 5),
  ];
  expect(removed(images, { ...off, unusedMs: 30 * day })).toEqual({
    idle: 'not used for 35 days',
    never: 'not used for 40 days',
  });
});

test('by count, those first that were made or used longest ago; tags of one image count once', () => {
  const images = [
    image('a', 2),
    image('b', 3),
    image('b2', 3, { digest: 'sha256:b' }),
    image('c', 90, { lastUsedAt: now - 4 * day }),
    image('d', 5),
  ];
  expect(removed(images, { ...off, keep: 2 })).toEqual({ c: 'more than 2 images', d: 'more than 2 images' });
  expect(Object.keys(removed(images, { ...off, keep: 1 }))).toEqual(['b', 'b2', 'c', 'd']);
  expect(Object.keys(removed(images, { ...off, keep: 0 }))).toHaveLength(5);
});

test('images in use do not count', () => {
  const images = [image('used', 2), image('a', 3), image('b', 4), image('open', 5), image('c', 6)];
  const plan = planRetention(images, { ...off, keep: 2 }, protect(usedBy({ used: ['s'] }), ['open']), now);
  expect(plan.remove.map(({ tag }) => tag)).toEqual(['c']);
});

test('what is younger than the limit stays, made or used', () => {
  const images = [
    image('young', 0.5),
    image('answered', 50, { lastUsedAt: now - 0.5 * day }),
    image('old', 1.5),
  ];
  const policy = { ...off, keep: 0 };
  expect(Object.keys(removed(images, policy))).toEqual(['old']);
  expect(planRetention(images, policy, protect(), now).keep).toContainEqual({
    tag: 'young',
    digest: 'sha256:young',
    why: 'made or used less than 1 day ago',
    spared: true,
  });
});

test('an image of unknown age stays until it was seen for long enough', () => {
  const policy = { ...off, maxAgeMs: day, unusedMs: day, keep: 0 };
  expect(removed([image('x', undefined)], policy)).toEqual({});
  expect(removed([image('x', undefined, { lastUsedAt: now - 3 * day })], policy)).toEqual({
    x: 'made 3 days ago',
  });
});

test('what a definition names stays with all tags of its digest: by tag, by digest, by a part of an index', () => {
  const images = [
    image('target', 90, { digest: 'sha256:1' }),
    image('python-0123', 90, { digest: 'sha256:1' }),
    image('pinned', 90, { digest: 'sha256:2' }),
    image('index', 90, { digest: 'sha256:3', parts: ['sha256:child'] }),
    image('free', 90),
  ];
  const used = usedBy({ target: ['a', 'd', 'c', 'b'] }, { 'sha256:2': ['p'], 'sha256:child': ['i'] });
  const plan = planRetention(images, { ...off, maxAgeMs: day }, protect(used), now);
  expect(plan.remove.map(({ tag }) => tag)).toEqual(['free']);
  expect(Object.fromEntries(plan.keep.map(({ tag, why }) => [tag, why]))).toEqual({
    target: 'used by services a, b, c and 1 more',
    'python-0123': 'used by services a, b, c and 1 more',
    pinned: 'used by service p',
    index: 'used by service i',
  });
});

test('tags of builds and tickets under way stay, with what they name now', () => {
  const images = [
    image('app', 90, { digest: 'sha256:1' }),
    image('python-1', 90, { digest: 'sha256:1' }),
    image('x', 90),
  ];
  const plan = planRetention(images, { ...off, maxAgeMs: day }, protect(usedBy({}), ['app']), now);
  expect(plan.remove.map(({ tag }) => tag)).toEqual(['x']);
  expect(plan.keep.map(({ why }) => why)).toEqual([
    'a build under way sets app',
    'a build under way sets app',
  ]);
});

test('what stays within the limits is not called spared', () => {
  const plan = planRetention(
    [image('a', 5)],
    { ...off, maxAgeMs: 30 * day },
    protect(usedBy({ a: ['s'] })),
    now,
  );
  expect(plan.keep).toEqual([{ tag: 'a', digest: 'sha256:a', why: 'used by service s', spared: false }]);
});

test('whatever the policy: nothing in use, young or about to be set goes, a digest goes as a whole, and every tag has one verdict', () => {
  const anImage = fc.record({
    tag: fc.integer({ min: 0, max: 40 }).map((number) => `t${number}`),
    digest: fc.integer({ min: 0, max: 12 }).map((number) => `sha256:${number}`),
    parts: fc.constant<string[]>([]),
    createdAt: fc.option(fc.integer({ min: 900 * day, max: now }), { nil: undefined }),
    lastUsedAt: fc.option(fc.integer({ min: 900 * day, max: now }), { nil: undefined }),
  });
  const limit = fc.option(fc.integer({ min: 0, max: 100 * day }), { nil: undefined });
  const aPolicy = fc.record({
    minAgeMs: fc.integer({ min: 0, max: 2 * day }),
    maxAgeMs: limit,
    unusedMs: limit,
    keep: fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }),
  });
  const some = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 4 });
  fc.assert(
    fc.property(
      fc.uniqueArray(anImage, { selector: ({ tag }) => tag, maxLength: 30 }),
      aPolicy,
      some,
      some,
      some,
      (images, policy, tags, digests, open) => {
        const used = usedBy(
          Object.fromEntries(tags.map((number) => [`t${number}`, ['s']])),
          Object.fromEntries(digests.map((number) => [`sha256:${number}`, ['s']])),
        );
        const protection = protect(
          used,
          open.map((number) => `t${number}`),
        );
        const { remove, keep } = planRetention(images, policy, protection, now);
        expect([...remove, ...keep].map(({ tag }) => tag).sort()).toEqual(
          images.map(({ tag }) => tag).sort(),
        );
        const kept = new Set(keep.map(({ digest }) => digest));
        for (const { tag, digest } of remove) {
          expect(kept.has(digest)).toBe(false);
          expect(used.tags.has(tag) || used.digests.has(digest) || protection.openTags.has(tag)).toBe(false);
          const times = images
            .filter((image) => image.digest === digest)
            .flatMap(({ createdAt, lastUsedAt }) => [createdAt ?? 0, lastUsedAt ?? 0]);
          expect(now - Math.max(...times)).toBeGreaterThanOrEqual(policy.minAgeMs);
        }
      },
    ),
  );
});

test('the tag that keeps an image', () => {
  expect(keepingTag(`sha256:${'0123456789'.repeat(6)}abcd`)).toBe('in-use-01234567890123456789');
  expect(isKeepingTag('in-use-01234567890123456789')).toBe(true);
  expect(isKeepingTag('in-use')).toBe(false);
});
