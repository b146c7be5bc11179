import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { RedisConnection } from '../../src/adapters/index.ts';
import { runStates } from '../../src/contracts/index.ts';
import { eventually } from '../../src/testing/eventually.ts';
import { fakeClock } from '../../src/testing/fake-clock.ts';
import { claimOne, moveTo, newRun } from '../../src/testing/run-ledger-harness.ts';
import {
  connect,
  harness,
  ledgerOf,
  randomNamespace,
  type RedisLedger,
  removeNamespace,
  withClient,
} from './redis-fixture.ts';
import { startRedis, type TestRedis } from './redis-server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function open(namespace: string, url?: string): Promise<RedisConnection> {
  const redis = await connect(namespace, url === undefined ? {} : { url });
  cleanups.push(redis.close);
  return redis;
}

const clock = fakeClock();

async function ownLedger(settings: readonly string[]): Promise<{ server: TestRedis; ledger: RedisLedger }> {
  const server = await startRedis(settings);
  cleanups.push(server.close);
  const ledger = ledgerOf(await open('ns', server.url), { clock });
  await ledger.markIntact();
  return { server, ledger };
}

describe('a Redis that is killed', () => {
  it('lost nothing that was accepted, and claims again what it did not answer', async () => {
    const { server, ledger } = await ownLedger(['--appendonly', 'yes', '--appendfsync', 'always']);
    const runs = Array.from({ length: 4000 }, () => newRun());
    const accepted = new Set<string>();
    let killed: Promise<void> | undefined;
    const claimers = Array.from({ length: 32 }, async (_, lane) => {
      for (let index = lane; index < runs.length; index += 32) {
        const run = runs[index];
        if (run === undefined) continue;
        await eventually(
          'claimed',
          async () => {
            try {
              for (const { id, created } of await ledger.claim([run])) if (created) accepted.add(id);
              return true;
            } catch (error) {
              expect(error).toMatchObject({ code: 'unavailable' });
              return false;
            }
          },
          20_000,
        );
        if (accepted.size > 1000) killed ??= server.kill().then(server.start);
      }
    });
    await Promise.all(claimers);
    await killed;
    expect(killed).toBeDefined();
    const ids = runs.map(({ id }) => id);
    for (let at = 0; at < ids.length; at += 1000) {
      expect((await ledger.claimed(ids.slice(at, at + 1000))).every(Boolean)).toBe(true);
    }
    // Each is there once, whole: record, indexes and messages of half a claim would show here.
    expect((await ledger.counts()).queued).toBe(runs.length);
    const started = new Set<string>();
    for (;;) {
      const entries = await ledger.readOutbox(1000);
      if (entries.length === 0) break;
      for (const { message } of entries) if (message.name === 'runs.start') started.add(message.id);
      await ledger.removeFromOutbox(entries.map(({ seq }) => seq));
    }
    expect(started.size).toBe(runs.length);
  });
});

describe('a Redis that was emptied', () => {
  it('refuses everything until it is restored', async () => {
    const { server, ledger } = await ownLedger([]);
    const { id } = await claimOne(ledger);
    expect(await ledger.isIntact()).toBe(true);
    await withClient(server.url, async (client) => client.flushall());
    expect(await ledger.isIntact()).toBe(false);
    const calls: (() => Promise<unknown>)[] = [
      async () => ledger.claim([newRun()]),
      async () => ledger.claimed([id]),
      async () => ledger.get(id),
      async () => ledger.transition({ id, from: ['queued'], to: 'starting' }),
      async () => ledger.requestCancel(id, 'x'),
      async () => ledger.note(id, 1, 'x'),
      async () => ledger.list({ limit: 1 }),
      async () => ledger.list({ limit: 1, input: { bucket: 'b', key: 'k' } }),
      async () => ledger.counts(),
      async () => ledger.versionsInUse(),
      async () => ledger.remove([id]),
      async () => ledger.expire({ claimsBefore: 1, recordsBefore: 1, limit: 1 }),
      async () => ledger.readOutbox(1),
      async () => ledger.removeFromOutbox(['1']),
      async () => ledger.check(),
    ];
    for (const call of calls) {
      await expect(call(), String(call)).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('being rebuilt'),
      });
    }
  });

  it('has its runs, claims, order and counts again afterwards', async () => {
    const { server, ledger } = await ownLedger([]);
    const runs = [];
    for (let index = 0; index < 30; index += 1) {
      // Those of one millisecond have no order that a restoration could know.
      clock.advance(1);
      runs.push(await claimOne(ledger, { service: `s${index % 3}` }));
    }
    const ids = runs.map(({ id }) => id);
    for (const [index, id] of ids.entries()) {
      if (index % 3 === 0)
        await ledger.transition({ id, from: ['queued'], to: 'starting', set: { service_version: 4 } });
      if (index % 6 === 0) await moveTo(ledger, id, 'running');
      if (index % 12 === 0) await moveTo(ledger, id, 'failed');
    }
    const list = async (): Promise<unknown> => (await ledger.list({ limit: 100 })).items;
    const before = [
      await list(),
      await ledger.counts(),
      await ledger.counts('s0'),
      await ledger.versionsInUse(),
    ];
    const all = (await ledger.list({ limit: 100 })).items;
    await withClient(server.url, async (client) => client.flushall());

    const other = ledgerOf(await open('ns', server.url), { clock });
    // Two processes restore the same, in different order.
    await Promise.all([
      ledger.restore(all),
      other.restore(all.slice(10)).then(async () => other.restore(all.slice(0, 10))),
    ]);
    await ledger.restoreClaims([
      { id: 'gone-1', claimedAt: 5 },
      { id: ids[0] ?? '', claimedAt: 5 },
    ]);
    await Promise.all([ledger.markIntact(), other.markIntact()]);
    expect(await ledger.isIntact()).toBe(true);
    expect([
      await list(),
      await ledger.counts(),
      await ledger.counts('s0'),
      await ledger.versionsInUse(),
    ]).toEqual(before);
    expect(await ledger.claim([newRun({ id: ids[3] ?? '' }), newRun({ id: 'gone-1' })])).toEqual([
      { id: ids[3], created: false },
      { id: 'gone-1', created: false },
    ]);
    const [newest] = (await ledger.list({ limit: 1 })).items;
    const fresh = await claimOne(ledger);
    expect((await ledger.list({ limit: 2 })).items.map(({ id }) => id)).toEqual([fresh.id, newest?.id]);
    // What is restored goes on, and expires.
    expect((await moveTo(ledger, ids[1] ?? '', 'starting', 'succeeded')).state).toBe('succeeded');
    const everything = Number.MAX_SAFE_INTEGER;
    const gone = await ledger.expire({ claimsBefore: 6, recordsBefore: everything, limit: 1000 });
    expect(gone.records).toHaveLength(3 + 1);
    expect(gone.claims).toBe(1);
  });

  it('does not count as restored when it is emptied again meanwhile', async () => {
    const { server, ledger } = await ownLedger([]);
    const run = await claimOne(ledger);
    const flush = async (): Promise<unknown> => withClient(server.url, async (client) => client.flushall());
    await flush();
    await ledger.restore([run]);
    await flush();
    await expect(ledger.markIntact()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await ledger.isIntact()).toBe(false);
    await ledger.restore([run]);
    await ledger.markIntact();
    expect(await ledger.get(run.id)).toEqual(run);
  });

  it('takes a thousand runs of one moment, and not more', async () => {
    const { ledger } = await ownLedger([]);
    const [run] = [await claimOne(ledger)];
    const many = Array.from({ length: 1000 }, (_, index) => ({ ...run, id: `r${index}` }));
    await ledger.restore(many);
    await ledger.restore(many);
    expect((await ledger.counts()).queued).toBe(1001);
    await expect(ledger.restore([...many, run])).rejects.toMatchObject({ code: 'invalid_input' });
  });
});

describe('a Redis whose memory is full', () => {
  it('refuses whole steps with a clear error, and still lets go of what is old', async () => {
    const { server, ledger } = await ownLedger(['--maxmemory-policy', 'noeviction']);
    const done = await claimOne(ledger);
    await moveTo(ledger, done.id, 'succeeded');
    const waiting = await claimOne(ledger);
    const config = async (bytes: string): Promise<unknown> =>
      withClient(server.url, async (client) => client.config('SET', 'maxmemory', bytes));
    const state = async (): Promise<unknown[]> => [
      await ledger.counts(),
      await ledger.readOutbox(1000),
      (await ledger.list({ limit: 100 })).items,
      await ledger.versionsInUse(),
    ];
    const before = await state();
    await config('1mb');
    const full = { code: 'storage_full', retry: 'later', message: expect.stringContaining('out of memory') };
    await expect(ledger.claim([newRun(), newRun()])).rejects.toMatchObject(full);
    const start = { id: waiting.id, from: ['queued'], to: 'starting', set: { service_version: 1 } } as const;
    await expect(ledger.transition(start)).rejects.toMatchObject(full);
    await expect(ledger.requestCancel(waiting.id, 'x')).rejects.toMatchObject(full);
    expect(await state()).toEqual(before);
    const outbox = await ledger.readOutbox(1);
    await ledger.removeFromOutbox(outbox.map(({ seq }) => seq));
    expect(await ledger.remove([done.id])).toEqual([done.id]);
    expect(await ledger.claimed([done.id])).toEqual([true]);
    await ledger.expire({
      claimsBefore: Number.MAX_SAFE_INTEGER,
      recordsBefore: Number.MAX_SAFE_INTEGER,
      limit: 10,
    });
    expect(await ledger.claimed([done.id])).toEqual([false]);
    await config('0');
    expect((await ledger.transition(start)).applied).toBe(true);
  });
});

describe('several processes', () => {
  it('that claim the same ids create each once', async () => {
    const namespace = randomNamespace();
    cleanups.push(async () => removeNamespace(namespace));
    const ledger = ledgerOf(await open(namespace));
    await ledger.markIntact();
    const script = fileURLToPath(new URL('redis-claimer.ts', import.meta.url));
    const claimers = [0, 1].map(() => {
      const child = spawn(process.execPath, [script, namespace, '1000'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      cleanups.push(async () => child.kill('SIGKILL'));
      return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
    });
    for (const { lines } of claimers) expect((await lines.next()).value).toBe('ready');
    for (const { child } of claimers) child.stdin.write('go\n');
    const created: string[] = [];
    for (const { lines } of claimers)
      created.push(...(JSON.parse(String((await lines.next()).value)) as string[]));
    expect(created).toHaveLength(1000);
    expect(new Set(created).size).toBe(1000);
    expect((await ledger.counts()).queued).toBe(1000);
  });

  it('never start more than there are slots', async () => {
    const namespace = randomNamespace();
    cleanups.push(async () => removeNamespace(namespace));
    const ledgers = [ledgerOf(await open(namespace)), ledgerOf(await open(namespace))];
    const [ledger] = ledgers;
    if (ledger === undefined) throw new Error('none');
    await ledger.markIntact();
    const runs = Array.from({ length: 60 }, (_, index) => newRun({ service: `s${index % 4}` }));
    await ledger.claim(runs);
    const start = async (by: RedisLedger, id: string): Promise<boolean> =>
      (await by.transition({ id, from: ['queued'], to: 'starting', slots: 10, serviceSlots: 3 })).applied;
    const started = await Promise.all(ledgers.flatMap((by) => runs.map(async ({ id }) => start(by, id))));
    expect(started.filter(Boolean)).toHaveLength(10);
    expect((await ledger.counts()).starting).toBe(10);
    for (let index = 0; index < 4; index += 1) {
      expect((await ledger.counts(`s${index}`)).starting).toBeLessThanOrEqual(3);
    }
  });
});

describe('a hundred thousand runs', () => {
  it('are listed, counted and changed as quickly as a few', async () => {
    const { ledger, close } = await harness({ maxOutbox: 1e9 });
    cleanups.push(close);
    for (let batch = 0; batch < 100; batch += 1) {
      await ledger.claim(Array.from({ length: 1000 }, (_, index) => newRun({ service: `s${index % 10}` })));
    }
    const object = { bucket: 'thumbnail', key: 'in/photo.jpg' };
    const started = performance.now();
    for (let round = 0; round < 50; round += 1) {
      await ledger.counts();
      await ledger.counts('s1');
      await ledger.versionsInUse();
      await ledger.list({ limit: 20 });
      await ledger.list({ limit: 20, service: 's1', states: ['failed', 'queued'] });
      await ledger.list({ limit: 20, serviceUid: 'uid-of-s2', order: 'oldest' });
    }
    // 300 questions; one look at all records takes longer than this.
    expect(performance.now() - started).toBeLessThan(3000);
    // All have the same input: what is filtered beside it is looked for in bounded steps.
    const page = await ledger.list({ limit: 10, input: object, states: ['failed'] });
    expect(page.items).toEqual([]);
    expect(page.next).toBeDefined();
    expect((await ledger.list({ limit: 1000, input: object, service: 's3' })).items).toHaveLength(1000);
    const { queued, ...others } = await ledger.counts();
    expect(queued).toBe(100_000);
    expect(Object.values(others).every((count) => count === 0)).toBe(true);
    expect(Object.keys(others)).toHaveLength(runStates.length - 1);
  });
});
