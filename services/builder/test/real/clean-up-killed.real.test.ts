import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openRedis } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { Redis } from 'ioredis';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createRedisCollectionState } from '../../src/adapters/index.ts';
import { collectionPhases } from '../../src/domain/collection-phases.ts';
import type { Collector } from '../../src/index.ts';
import type { ChildSettings } from './collecting-child.ts';
import { collectorOf, openQueue, type CollectorSettings, type TestQueue } from './collector-fixture.ts';
import { openRegistry, type OwnRegistry } from './own-registry.ts';
import { beginUpload, pull, pushImage } from './push-images.ts';

const signal = new AbortController().signal;
const program = fileURLToPath(new URL('collecting-child.ts', import.meta.url));
const day = 86_400_000;
/** Registries, and processes that collect them, are started by the dozen. */
const patienceMs = 60_000;

let registry: OwnRegistry;
let settings: CollectorSettings;
let redis: Awaited<ReturnType<typeof openRedis>>;
let queue: TestQueue;
let collector: Collector;
const children: ChildProcess[] = [];

beforeAll(async () => {
  registry = await openRegistry();
  return () => registry.close();
});

beforeEach(async () => {
  const { REDIS_URL } = process.env;
  if (!REDIS_URL) throw new Error('this test needs a Redis server: set REDIS_URL');
  const namespace = `test-${randomUUID()}`;
  settings = { redisUrl: REDIS_URL, namespace, host: registry.host, commands: registry.commands };
  redis = await openRedis({
    url: new Secret(REDIS_URL),
    namespace,
    name: 'test',
    clock: systemClock,
    log: silentLogger(),
  });
  queue = openQueue(settings);
  collector = collectorOf(settings, {
    state: createRedisCollectionState(redis),
    random: { hex: (bytes) => randomBytes(bytes).toString('hex') },
    queue,
  });
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await queue.close();
  await redis.close();
  const client = new Redis(settings.redisUrl);
  for await (const keys of client.scanStream({ match: `{${settings.namespace}}:*`, count: 1000 })) {
    const names = (keys as unknown[]).map(String);
    if (names.length > 0) await client.unlink(...names);
  }
  client.disconnect();
});

/** Starts a process that collects, and waits until it stands where it was told to. */
async function collectUntil(change: Pick<ChildSettings, 'stop' | 'collect'>): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program, JSON.stringify({ ...settings, ...change })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  if (change.stop !== undefined) {
    await eventually(
      'it stands still',
      () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${lines.join()}`);
        return lines.includes('here');
      },
      patienceMs,
    );
  }
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function expectAtWork(): Promise<void> {
  expect(await queue.isPaused()).toBe(false);
  expect((await beginUpload(registry.host, 'anna')).status).toBe(202);
}

/** States in which the registry refuses pushes. */
const lockedWhen = new Set(['locking done', 'collecting begun', 'collecting done', 'unlocking begun']);
/** States in which builds may begin. */
const freeWhen = new Set(['pausing begun', 'resuming done']);

const moments = collectionPhases.flatMap((phase) =>
  (['begun', 'done'] as const).map((when) => ({ phase, when })),
);

test.each(moments)('killed when $phase is $when: undone by whoever looks next', async (stop) => {
  const kept = await pushImage(registry.host, 'anna', ['kept'], { createdAt: systemClock.now() - day });
  await pushImage(registry.host, 'anna', [], { createdAt: systemClock.now() - day });
  const child = await collectUntil({ stop });
  const moment = `${stop.phase} ${stop.when}`;
  const isLocked = lockedWhen.has(moment);
  expect((await beginUpload(registry.host, 'anna')).status).toBe(isLocked ? 405 : 202);
  expect(await queue.isPaused()).toBe(!freeWhen.has(moment));
  // It renews its hold: nobody takes it away from a process that lives.
  expect(await collector.recover(signal)).toBe('busy');
  await kill(child);
  const undone = await eventually(
    'what was begun is undone',
    async () => {
      const found = await collector.recover(signal);
      return found !== 'busy' && found;
    },
    patienceMs,
  );
  expect(undone).toBe('undone');
  await expectAtWork();
  expect(await createRedisCollectionState(redis).last()).toMatchObject({
    outcome: { state: 'undone', phase: stop.phase },
  });
  if (isLocked) {
    expect(await collector.collect(signal)).toMatchObject({ state: 'done' });
    await expectAtWork();
  }
  await pull(registry.host, 'anna', kept.digest);
});

test('a collection under way ends with the process that began it, also when it only stands still', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-collect-'));
  const note = join(folder, 'pid');
  // Stands for a collection of hours; it takes no hint.
  const script = `process.on('SIGTERM', () => {}); require('fs').writeFileSync(${JSON.stringify(note)}, String(process.pid)); setInterval(() => {}, 1000)`;
  for (const how of ['SIGKILL', 'SIGSTOP'] as const) {
    const child = await collectUntil({ collect: [process.execPath, '-e', script] });
    const pid = await eventually(
      'the collection runs',
      async () => readFile(note, 'utf8').then(Number, () => undefined),
      patienceMs,
    );
    await rm(note);
    child.kill(how);
    await eventually('the collection has ended', () => !isAlive(pid), patienceMs);
    const undone = await eventually(
      'what was begun is undone',
      async () => {
        const found = await collector.recover(signal);
        return found !== 'busy' && found;
      },
      patienceMs,
    );
    expect(undone).toBe('undone');
    await expectAtWork();
    if (how === 'SIGSTOP') {
      // Awake again, it sees that it is not its own any more and touches nothing.
      const ended = once(child, 'exit');
      child.kill('SIGCONT');
      await ended;
      await expectAtWork();
      expect(await createRedisCollectionState(redis).last()).toMatchObject({ outcome: { state: 'undone' } });
    }
  }
  await rm(folder, { recursive: true });
});

/** A dead one that nobody waited for still has its number. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
