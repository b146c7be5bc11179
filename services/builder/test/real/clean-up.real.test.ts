import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createRegistryClient,
  createSqliteDefinitionStore,
  openDatabase,
  openRedis,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import type { DefinitionStore } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { definitionOf } from '@sluice/shared/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createImageRegistry,
  createRedisCollectionState,
  createRedisImageUses,
} from '../../src/adapters/index.ts';
import { createPruner, type Pruner } from '../../src/index.ts';
import { collectorOf, openQueue } from './collector-fixture.ts';
import { openRegistry, type OwnRegistry } from './own-registry.ts';
import { beginUpload, pull, pushImage, pushIndex, sha256 } from './push-images.ts';

const day = 86_400_000;
const pullHost = 'images.cluster.example';
const log = silentLogger();
const namespace = `test-${randomUUID()}`;
const users = Array.from({ length: 10 }, (_, number) => `user${number}`);
const signal = new AbortController().signal;

let registry: OwnRegistry;
let redisUrl: string;
let redis: Awaited<ReturnType<typeof openRedis>>;
let definitions: DefinitionStore;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const { REDIS_URL } = process.env;
  if (!REDIS_URL) throw new Error('this test needs a Redis server: set REDIS_URL');
  redisUrl = REDIS_URL;
  registry = await openRegistry();
  closing.push(() => registry.close());
  redis = await openRedis({ url: new Secret(redisUrl), namespace, name: 'test', clock: systemClock, log });
  closing.push(
    () => redis.close(),
    () => removeKeys(redisUrl, namespace),
  );
  const folder = await mkdtemp(join(tmpdir(), 'sluice-clean-up-'));
  const db = openDatabase({ path: join(folder, 'sluice.db'), clock: systemClock, log });
  closing.push(
    () => rm(folder, { recursive: true }),
    async () => db.close(),
  );
  definitions = createSqliteDefinitionStore({ db, clock: systemClock, random: randomBytes });
});

afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

async function removeKeys(url: string, of: string): Promise<void> {
  const client = new Redis(url);
  for await (const keys of client.scanStream({ match: `{${of}}:*`, count: 1000 })) {
    const names = (keys as unknown[]).map(String);
    if (names.length > 0) await client.unlink(...names);
  }
  client.disconnect();
}

async function define(name: string, image: string): Promise<void> {
  await definitions.create({
    definition: definitionOf(name, { image }),
    secrets: { token: '', environment: {} },
    floors: [],
  });
}

function prunerOf(): Pruner {
  const client = createRegistryClient({
    logins: () => Promise.resolve(undefined),
    platform: { os: 'linux', architecture: 'amd64' },
    clock: systemClock,
  });
  closing.push(() => client.close());
  return createPruner({
    registry: createImageRegistry({ client }),
    definitions,
    builds: { open: () => Promise.resolve([]), ticket: () => Promise.resolve(undefined) },
    uses: createRedisImageUses(redis),
    logins: () => Promise.resolve(users),
    hosts: [registry.host, pullHost],
    pushHost: registry.host,
    policy: { minAgeMs: day, maxAgeMs: undefined, unusedMs: 30 * day, keep: 8 },
    cacheUnusedMs: 14 * day,
    roundMs: 60_000,
    clock: systemClock,
    log,
  });
}

interface Pushed {
  /** Of all users: `user0:tag`. */
  readonly staying: Set<string>;
  readonly going: Set<string>;
  readonly goingLayers: Buffer[];
}

/** 20 tags: 17 images of growing age, two tags of one old image, and an index of an image without a tag. */
async function pushFor(user: string, number: number, pushed: Pushed): Promise<void> {
  const { host } = registry;
  const now = systemClock.now();
  for (let image = 0; image < 17; image += 1) {
    // Made today, two and a half days ago, …: those from the 9th on are too many, from the 13th on too old.
    const createdAt = now - image * 2.5 * day;
    const tag = `python-${image.toString(16).padStart(20, '0')}`;
    const { layer } = await pushImage(host, user, [tag], { createdAt });
    pushed[image < 8 ? 'staying' : 'going'].add(`${user}:${tag}`);
    if (image >= 8) pushed.goingLayers.push(layer);
  }
  const old = { createdAt: now - 90 * day };
  await pushImage(host, user, ['app', 'nodejs-shared'], old);
  const child = await pushImage(host, user, [], old);
  const index = await pushIndex(host, user, 'multi', [child]);
  const isUsed = number % 2 === 0;
  for (const tag of ['app', 'nodejs-shared', 'multi'])
    pushed[isUsed ? 'staying' : 'going'].add(`${user}:${tag}`);
  if (!isUsed) return;
  await define(`by-tag-${number}`, `${number % 4 === 0 ? host : pullHost}/${user}:app`);
  await define(`by-digest-${number}`, `${pullHost}/${user}@${index}`);
}

async function tagsOf(user: string): Promise<readonly string[]> {
  const answer = await fetch(`http://${registry.host}/v2/${user}/tags/list`);
  if (answer.status === 404) return [];
  return ((await answer.json()) as { tags: string[] | null }).tags ?? [];
}

test('200 images of 10 users: what should go goes, what a definition uses stays, the disk shrinks, pushes work at once', async () => {
  const pushed: Pushed = { staying: new Set(), going: new Set(), goingLayers: [] };
  await Promise.all(users.map((user, number) => pushFor(user, number, pushed)));
  expect(pushed.staying.size + pushed.going.size).toBe(200);
  // A definition that names its image by digest only, the tag of which has moved on.
  const loose = await pushImage(registry.host, 'user0', [], { createdAt: systemClock.now() - 90 * day });
  await define('loose', `${pullHost}/user0@${loose.digest}`);
  const pruner = prunerOf();

  const trial = await pruner.prune({ dryRun: true });
  expect(new Set(trial.removed.map(({ image }) => image))).toEqual(pushed.going);
  const report = await pruner.prune({ dryRun: false });
  expect({ ...report, dry_run: true }).toEqual(trial);
  expect(report.failed).toBeUndefined();
  expect(report.kept).toContainEqual({ image: 'user0:app', why: 'used by service by-tag-0' });
  for (const user of users) {
    const left = [...pushed.staying].filter((image) => image.startsWith(`${user}:`));
    expect((await tagsOf(user)).map((tag) => `${user}:${tag}`).sort()).toEqual(left.sort());
  }
  // Once more is nothing more.
  expect((await pruner.prune({ dryRun: false })).removed).toEqual([]);

  const before = await registry.bytes();
  const queue = openQueue({ redisUrl, namespace });
  closing.push(() => queue.close());
  const collector = collectorOf(
    { redisUrl, namespace, host: registry.host, commands: registry.commands },
    {
      state: createRedisCollectionState(redis),
      random: { hex: (bytes) => randomBytes(bytes).toString('hex') },
      queue,
      protect: (signal) => pruner.protect(signal),
    },
  );
  const result = await collector.collect(signal);
  const after = await registry.bytes();
  const bytesGone = pushed.going.size * 0.9 * 64 * 1024;
  if (result.state !== 'done') throw new Error(`not done: ${JSON.stringify(result)}`);
  expect(result.freedBytes).toBeGreaterThan(bytesGone);
  expect(before - after).toBeGreaterThan(bytesGone);
  expect(result.blobs).toBeGreaterThanOrEqual(2 * 100);
  expect(await queue.isPaused()).toBe(false);

  // All that stays can be pulled, children of indexes and what only a definition names included.
  for (const image of pushed.staying) {
    const [user = '', tag = ''] = image.split(':');
    await pull(registry.host, user, tag);
  }
  await pull(registry.host, 'user0', loose.digest);
  // What was collected is pushed again, the same bytes: a registry that believed to have them would not take them.
  const [layer = Buffer.alloc(0)] = pushed.goingLayers;
  const blob = await fetch(`http://${registry.host}/v2/user0/blobs/${sha256(layer)}`, { method: 'HEAD' });
  expect(blob.status).toBe(404);
  await pushImage(registry.host, 'user0', ['again'], { createdAt: systemClock.now(), layer });
  await pull(registry.host, 'user0', 'again');
  expect((await beginUpload(registry.host, 'user1')).status).toBe(202);
});
