import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  createNatsDefinitionStore,
  dropNatsDefinitionStore,
  type NatsDefinitionStore,
} from '../../src/adapters/index.ts';
import type { Nats } from '../../src/adapters/nats-connection.ts';
import { readAll } from '../../src/adapters/nats-kv-feed.ts';
import { openBucket } from '../../src/adapters/nats-kv.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';
import {
  boxOf,
  inputOf,
  openTestNats,
  openTestStore,
  randomKey,
  randomNamespace,
} from './nats-kv-fixture.ts';

/** What killed writers were told. */
interface Told {
  /** Mark by `<uid> <version>`. */
  readonly put: Map<string, string>;
  readonly removed: Set<string>;
}

const key = randomKey('test');
const namespace = randomNamespace();
let nats: Nats;
let store: NatsDefinitionStore;
beforeEach(async () => {
  nats = await openTestNats();
  store = await openTestStore(nats, namespace, boxOf(key));
});
afterEach(async () => {
  await store.close();
  await dropNatsDefinitionStore({ nats, namespace });
  await nats.close();
});

async function workUntilKilled(told: Told, ms: number): Promise<void> {
  const script = fileURLToPath(new URL('nats-definition-writer.ts', import.meta.url));
  const worker = spawn(process.execPath, [script, namespace, key.key.export().toString('base64url')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: worker.stdout });
  const ended = once(lines, 'close');
  lines.on('line', (line) => {
    const [word, uid = '', version = '', mark = ''] = line.split(' ');
    if (word === 'put') told.put.set(`${uid} ${version}`, mark);
    else told.removed.add(uid);
  });
  await once(lines, 'line');
  await delay(ms);
  worker.kill('SIGKILL');
  await ended;
  expect(worker.exitCode).toBeNull();
}

async function checkAll(told: Told): Promise<void> {
  for (const [place, mark] of told.put) {
    const [uid = '', version = ''] = place.split(' ');
    expect((await store.getVersion(uid, Number(version)))?.definition.annotations).toEqual({ mark });
    expect((await store.secrets(uid, Number(version)))?.environment).toEqual({ MARK: mark });
  }
  for (const name of ['a', 'b', 'c']) {
    const stored = await store.get(name);
    if (stored === undefined) continue;
    expect(told.removed).not.toContain(stored.uid);
    expect(await store.getVersion(stored.uid, stored.version)).toEqual(stored);
    // Whoever was killed before it was told so has still stored all or nothing.
    const secrets = await store.secrets(stored.uid, stored.version);
    expect(stored.definition.annotations).toEqual({ mark: secrets?.environment['MARK'] });
    expect(await store.floors(stored.uid)).toMatchObject([{ bucket: name, prefix: 'in/' }]);
    // And nobody is kept from going on.
    const next = await store.update(stored, inputOf(name, 'next'));
    expect(next.version).toBe(stored.version + 1);
  }
}

async function count(purpose: string): Promise<number> {
  const bucket = await openBucket({ nats, namespace }, purpose);
  return (await readAll(nats, bucket, { values: false })).length;
}

it('a writer that is killed leaves all or nothing, and no remains for long', async () => {
  const told: Told = { put: new Map(), removed: new Set() };
  for (let round = 0; round < 6; round += 1) {
    const before = told.put.size;
    await workUntilKilled(told, 20 + Math.random() * 200);
    expect(told.put.size).toBeGreaterThan(before);
    await checkAll(told);
  }
  expect(told.removed.size).toBeGreaterThan(0);
  const later: NatsDefinitionStore = await createNatsDefinitionStore({
    nats,
    namespace,
    random: randomBytes,
    log: silentLogger(),
    clock: { ...systemClock, now: () => systemClock.now() + 3_600_000 },
  });
  await later.pruneVersions({ before: systemClock.now() + 3_600_000, inUse: new Set() });
  await later.close();
  const { items } = await store.list({ limit: 10 });
  expect(await count('definitions')).toBe(items.length);
  expect(await count('secrets')).toBe(items.length);
  // The name of each, and no copy of a version.
  expect(await count('versions')).toBe(items.length);
  expect(await count('floors')).toBeLessThanOrEqual(items.length);
  for (const { uid, version } of items)
    expect((await store.secrets(uid, version))?.environment).toBeDefined();
}, 120_000);
