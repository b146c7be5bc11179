import { AppError } from '@sluice/shared/errors';
import { silentLogger } from '@sluice/shared/telemetry';
import { definitionOf, fakeClock, type FakeClock } from '@sluice/shared/testing';
import type { DefinitionStore, StoredDefinition } from '@sluice/shared/stores';
import { beforeEach, expect, test } from 'vitest';
import type { ImageUses } from '../clean-up-ports.ts';
import type { BuildStore, ImageDetails, ImageRegistry, StoredBuild } from '../ports.ts';
import { createPruner, type Pruner, type PrunerDeps } from './prune.ts';

const day = 86_400_000;
const registryHost = 'registry:5000';
const digestOf = (name: string): string => `sha256:${Buffer.from(name).toString('hex').padEnd(64, '0')}`;

/** What the ports tell, and all that happens to it; faults that real servers do not show on demand. */
interface World {
  readonly clock: FakeClock;
  /** By repository and tag: the digest. */
  readonly tags: Map<string, Map<string, string>>;
  /** By digest. */
  readonly created: Map<string, number | undefined>;
  readonly services: Map<string, string>;
  readonly uses: Map<string, Map<string, number>>;
  readonly open: { spec: { user: string; contentTag: string }; tickets: string[] }[];
  readonly targets: Map<string, string>;
  readonly broken: Set<string>;
  readonly removed: string[];
  /** Called before each removal. */
  before: (image: string) => void;
  definitionsFail: boolean;
}

let world: World;

beforeEach(() => {
  world = {
    clock: fakeClock(),
    tags: new Map(),
    created: new Map(),
    services: new Map(),
    uses: new Map(),
    open: [],
    targets: new Map(),
    broken: new Set(),
    removed: [],
    before: () => undefined,
    definitionsFail: false,
  };
});

function put(user: string, tag: string, daysOld: number | undefined, name = `${user}-${tag}`): string {
  const digest = digestOf(name);
  const repository = `${registryHost}/${user}`;
  world.tags.set(repository, (world.tags.get(repository) ?? new Map()).set(tag, digest));
  world.created.set(digest, daysOld === undefined ? undefined : world.clock.now() - daysOld * day);
  if (/^[a-z0-9]+$/.test(user)) usesOf(user);
  return digest;
}

function usesOf(user: string): Map<string, number> {
  const uses = world.uses.get(user) ?? new Map<string, number>();
  world.uses.set(user, uses);
  return uses;
}

const uses: ImageUses = {
  note: (user, items, at) => {
    const noted = usesOf(user);
    for (const item of items) noted.set(item, Math.max(at, noted.get(item) ?? 0));
    return Promise.resolve();
  },
  of: (user) => Promise.resolve(new Map(usesOf(user))),
  forget: (user, items) => {
    for (const item of items) usesOf(user).delete(item);
    return Promise.resolve();
  },
  users: () => Promise.resolve([...world.uses.keys()]),
};

function lookUp(reference: string): string | undefined {
  for (const broken of world.broken)
    if (reference.startsWith(broken)) throw new AppError('unavailable', 'The registry fails (500).');
  const [repository = '', digest] = reference.split('@');
  const all = [...world.tags.values()].flatMap((tags) => [...tags.values()]);
  if (digest !== undefined) return all.includes(digest) || world.created.has(digest) ? digest : undefined;
  const colon = repository.lastIndexOf(':');
  return world.tags.get(repository.slice(0, colon))?.get(repository.slice(colon + 1));
}

const registry: PrunerDeps['registry'] = {
  tags: (repository) => Promise.resolve([...(world.tags.get(repository)?.keys() ?? [])]),
  digestOf: async (reference) => lookUp(reference),
  details: async (reference): Promise<ImageDetails | undefined> => {
    const digest = lookUp(reference);
    if (digest === undefined) return undefined;
    const parts = [
      { digest: 'sha256:shared', size: 100 },
      { digest, size: 1 },
    ];
    return { digest, size: 101, parts, createdAt: world.created.get(digest), labels: {} };
  },
  removeTag: async (repository, tag) => {
    world.before(`${repository}:${tag}`);
    lookUp(`${repository}:${tag}`);
    world.removed.push(`${repository.slice(registryHost.length + 1)}:${tag}`);
    world.tags.get(repository)?.delete(tag);
  },
  tag: async (repository, digest, tag) => {
    world.tags.set(repository, (world.tags.get(repository) ?? new Map()).set(tag, digest));
  },
} satisfies Partial<ImageRegistry>;

function pruner(change: Partial<PrunerDeps> = {}): Pruner {
  const builds: Pick<BuildStore, 'open' | 'ticket'> = {
    open: () => Promise.resolve(world.open as unknown as readonly StoredBuild[]),
    ticket: (_user, id) => Promise.resolve({ target: world.targets.get(id) } as never),
  };
  const definitions: Pick<DefinitionStore, 'list'> = {
    list: ({ cursor }) => {
      if (world.definitionsFail) throw new AppError('unavailable', 'NATS is away.');
      // One a page.
      const names = [...world.services.keys()];
      const at = Number(cursor ?? '0');
      const items = names.slice(at, at + 1).map((name) => ({
        name,
        definition: definitionOf(name, { image: world.services.get(name) ?? '' }),
      }));
      return Promise.resolve({
        items: items as unknown as StoredDefinition[],
        ...(at + 1 < names.length ? { next: `${at + 1}` } : {}),
      });
    },
  };
  return createPruner({
    registry,
    definitions,
    builds,
    uses,
    logins: () => Promise.resolve([]),
    hosts: [registryHost, 'pull.example'],
    pushHost: registryHost,
    policy: { minAgeMs: day, maxAgeMs: 30 * day, unusedMs: undefined, keep: undefined },
    cacheUnusedMs: 14 * day,
    roundMs: 60_000,
    clock: world.clock,
    log: silentLogger(),
    ...change,
  });
}

test('what is too old goes, what a service names stays with all tags of its digest, and both are told', async () => {
  put('anna', 'old', 40);
  put('anna', 'new', 3);
  put('anna', 'app', 40, 'shared');
  put('anna', 'python-0123', 40, 'shared');
  const pinned = put('ben', 'pinned', 40);
  world.services.set('one', 'pull.example/anna:app');
  world.services.set('two', `pull.example/ben@${pinned}`);
  const report = await pruner().prune({ dryRun: false });
  expect(report).toEqual({
    dry_run: false,
    removed: [{ image: 'anna:old', why: 'made 40 days ago' }],
    kept: [
      { image: 'anna:app', why: 'used by service one' },
      { image: 'anna:python-0123', why: 'used by service one' },
      { image: 'ben:pinned', why: 'used by service two' },
    ],
  });
  expect(world.removed).toEqual(['anna:old']);
  // Used now; counted from here when the service is gone.
  expect(usesOf('anna').get(digestOf('shared'))).toBe(world.clock.now());
});

test('a trial says the same and changes nothing', async () => {
  put('anna', 'old', 40);
  put('anna', 'unknown', undefined);
  const report = await pruner().prune({ dryRun: true });
  expect(report.removed).toEqual([{ image: 'anna:old', why: 'made 40 days ago' }]);
  expect(world.removed).toEqual([]);
  expect(usesOf('anna').size).toBe(0);
});

test('an image that tells no age is counted from when it was first seen', async () => {
  put('anna', 'unknown', undefined);
  const round = pruner();
  expect((await round.prune({ dryRun: false })).removed).toEqual([]);
  world.clock.advance(29 * day);
  expect((await round.prune({ dryRun: false })).removed).toEqual([]);
  world.clock.advance(2 * day);
  expect((await round.prune({ dryRun: false })).removed).toEqual([
    { image: 'anna:unknown', why: 'made 31 days ago' },
  ]);
});

test('tags that builds under way and their tickets set are left alone', async () => {
  put('anna', 'python-1', 40);
  put('anna', 'app', 40);
  put('anna', 'other', 40);
  world.open.push({ spec: { user: 'anna', contentTag: 'python-1' }, tickets: ['t'] });
  world.targets.set('t', 'anna:app');
  await pruner().prune({ dryRun: false });
  expect(world.removed).toEqual(['anna:other']);
});

test('without knowing what is in use nothing goes', async () => {
  put('anna', 'old', 40);
  world.definitionsFail = true;
  await expect(pruner().prune({ dryRun: false })).rejects.toMatchObject({ code: 'unavailable' });
  expect(world.removed).toEqual([]);
});

test('a service that is made while images are removed keeps its image', async () => {
  for (const tag of ['a', 'b', 'c']) put('anna', tag, 40);
  world.before = () => {
    world.services.set('late', 'pull.example/anna:c');
    world.clock.advance(6000);
  };
  const report = await pruner().prune({ dryRun: false });
  expect(world.removed).toEqual(['anna:a', 'anna:b']);
  expect(report.kept).toEqual([{ image: 'anna:c', why: 'used just now' }]);
});

test('a tag that names another image by now is left alone', async () => {
  put('anna', 'a', 40);
  put('anna', 'b', 40);
  world.before = () => put('anna', 'b', 0, 'fresh');
  const report = await pruner().prune({ dryRun: false });
  expect(world.removed).toEqual(['anna:a']);
  expect(report.kept).toEqual([{ image: 'anna:b', why: 'names another image now' }]);
});

test('one failure is told of and the rest goes on', async () => {
  for (const tag of ['a', 'b']) put('anna', tag, 40);
  put('ben', 'x', 40);
  world.broken.add(`${registryHost}/anna:a`);
  const report = await pruner().prune({ dryRun: false });
  expect(report.failed).toEqual([{ image: 'anna:a', why: 'The registry fails (500).' }]);
  expect(world.removed).toEqual(['anna:b', 'ben:x']);
});

test('a registry that is away ends the round, not after thousands of tries', async () => {
  for (let number = 0; number < 50; number += 1) put('anna', `t${number}`, 40);
  put('ben', 'x', 40);
  world.broken.add(registryHost);
  const report = await pruner().prune({ dryRun: false });
  expect(report.failed?.length).toBeLessThan(20);
  expect(world.removed).toEqual([]);
});

test('a round that is too long goes on with the next user in the next one', async () => {
  for (const user of ['anna', 'ben', 'cleo']) put(user, 'old', 40);
  world.before = () => world.clock.advance(61_000);
  const round = pruner();
  for (const expected of [['anna:old'], ['anna:old', 'ben:old'], ['anna:old', 'ben:old', 'cleo:old']]) {
    await round.prune({ dryRun: false });
    expect(world.removed).toEqual(expected);
  }
});

test('caches go when nothing was built for long, but not from a first look', async () => {
  put('anna', 'new', 1);
  put('anna/cache', 'python', undefined);
  put('anna/cache', 'go', undefined);
  usesOf('anna').set('cache:python', world.clock.now() - 15 * day);
  const report = await pruner().prune({ dryRun: false });
  expect(report.removed).toEqual([{ image: 'anna/cache:python', why: 'no build used the cache for long' }]);
  expect([...usesOf('anna')]).toEqual([['cache:go', world.clock.now()]]);
});

test('uses of images that are gone are forgotten, young ones stay', async () => {
  put('anna', 'new', 3);
  usesOf('anna').set('sha256:gone', world.clock.now() - 2 * day);
  usesOf('anna').set('sha256:coming', world.clock.now() - 1000);
  await pruner().prune({ dryRun: false });
  expect([...usesOf('anna').keys()]).toEqual(['sha256:coming']);
});

test('repositories of nobody are not looked at', async () => {
  put('anna', 'old', 40);
  world.uses.set('not/a-login', new Map());
  put('base', 'old', 40);
  world.uses.delete('base');
  await pruner({ logins: () => Promise.resolve(['carl']) }).prune({ dryRun: false });
  expect(world.removed).toEqual(['anna:old']);
});

test('an image that a service names by its digest only gets a tag, of whichever repository', async () => {
  const loose = digestOf('loose');
  world.created.set(loose, 0);
  const tagged = put('anna', 'app', 3);
  const child = digestOf('library-loose');
  world.created.set(child, 0);
  world.services.set('a', `pull.example/anna@${loose}`);
  world.services.set('b', `pull.example/anna@${tagged}`);
  world.services.set('c', `${registryHost}/library/base@${child}`);
  world.services.set('d', `${registryHost}/anna@${digestOf('not-there')}`);
  for (let turn = 0; turn < 2; turn += 1) await pruner().protect(new AbortController().signal);
  expect(Object.fromEntries(world.tags.get(`${registryHost}/anna`) ?? [])).toEqual({
    app: tagged,
    [`in-use-${loose.slice(7, 27)}`]: loose,
  });
  expect([...(world.tags.get(`${registryHost}/library/base`)?.values() ?? [])]).toEqual([child]);
});

test('bytes are told by rounds that saw all images, layers of a user counted once', async () => {
  put('anna', 'a', 2);
  put('anna', 'b', 2);
  put('otto', 'a', 2);
  const told: number[] = [];
  const one = pruner({ measured: (bytes) => told.push(bytes) });
  await one.prune({ dryRun: true });
  expect(told).toEqual([102 + 101]);
  world.broken.add(`${registryHost}/otto`);
  await one.prune({ dryRun: true });
  expect(told).toHaveLength(1);
});
