import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { type Run, runStates } from '../../src/contracts/index.ts';
import { fakeClock } from '../../src/testing/fake-clock.ts';
import { claimOne, newRun } from '../../src/testing/run-ledger-harness.ts';
import { harness, redisUrl, type RedisLedger, withClient } from './redis-fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const clock = fakeClock();
const everything = Number.MAX_SAFE_INTEGER;

async function setUp(): Promise<{ ledger: RedisLedger; namespace: string }> {
  const { ledger, namespace, close } = await harness({ clock });
  cleanups.push(close);
  return { ledger, namespace };
}

/** What is in the server, by key without its prefix: members of sorted sets, fields of hashes. */
async function contents(namespace: string): Promise<Record<string, unknown>> {
  return withClient(redisUrl(), async (client) => {
    const found: Record<string, unknown> = {};
    const prefix = `{${namespace}}:`;
    for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1000 }))
      for (const key of (keys as unknown[]).map(String))
        found[key.slice(prefix.length)] = await contentOf(client, key);
    return found;
  });
}

async function contentOf(client: Redis, key: string): Promise<unknown> {
  switch (await client.type(key)) {
    case 'zset':
      return (await client.zrange(key, '0', '-1')).toSorted();
    case 'hash':
      return client.hgetall(key);
    case 'stream':
      return client.xlen(key);
    default:
      return client.get(key);
  }
}

/** The sorted sets as they should be for these runs. */
function indexesOf(runs: readonly Run[], seqs: ReadonlyMap<string, string>): Record<string, string[]> {
  const indexes: Record<string, string[]> = {};
  const put = (key: string, run: Run): void => {
    indexes[key] = [...(indexes[key] ?? []), seqs.get(run.id) ?? ''].toSorted();
  };
  for (const run of runs) {
    const state = runStates.indexOf(run.state);
    put(`s:${state}`, run);
    put(`v:${state}:${run.service}`, run);
    put(`u:${state}:${run.service_uid}`, run);
    if (run.finished_at !== undefined) put('finished', run);
  }
  return indexes;
}

type Op =
  | { readonly kind: 'claim'; readonly id: number }
  | {
      readonly kind: 'move';
      readonly id: number;
      readonly to: (typeof runStates)[number];
      readonly version: number;
    }
  | { readonly kind: 'remove' | 'cancel'; readonly id: number }
  | { readonly kind: 'expire'; readonly claims: boolean }
  | { readonly kind: 'restore'; readonly id: number };

const id = fc.nat({ max: 5 });
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ kind: fc.constant('claim' as const), id }),
  fc.record({
    kind: fc.constant('move' as const),
    id,
    to: fc.constantFrom(...runStates),
    version: fc.nat({ max: 2 }),
  }),
  fc.record({ kind: fc.constantFrom('remove' as const, 'cancel' as const), id }),
  fc.record({ kind: fc.constant('expire' as const), claims: fc.boolean() }),
  fc.record({ kind: fc.constant('restore' as const), id }),
);

async function perform(ledger: RedisLedger, it: Op, known: Map<number, Run>): Promise<void> {
  clock.advance(1);
  if (it.kind === 'expire') {
    await ledger.expire({ claimsBefore: it.claims ? everything : 0, recordsBefore: clock.now(), limit: 3 });
    return;
  }
  const name = `r${it.id}`;
  if (it.kind === 'claim') {
    await ledger.claim([newRun({ id: name, service: `s${it.id % 2}` })]);
    const run = await ledger.get(name);
    if (run !== undefined) known.set(it.id, run);
  }
  if (it.kind === 'move')
    await ledger.transition({ id: name, from: runStates, to: it.to, set: { service_version: it.version } });
  if (it.kind === 'remove') await ledger.remove([name]);
  if (it.kind === 'cancel') await ledger.requestCancel(name, 'x');
  const run = known.get(it.id);
  if (it.kind === 'restore' && run !== undefined) await ledger.restore([run]);
}

describe('whatever happens to runs', () => {
  it('the indexes say what the records say, and nothing is left when all is forgotten', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 1, maxLength: 30 }), async (ops) => {
        const { ledger, namespace } = await setUp();
        const known = new Map<number, Run>();
        for (const it of ops) await perform(ledger, it, known);
        const { items } = await ledger.list({ limit: 1000 });
        const found = await contents(namespace);
        const seqs = new Map(Object.entries((found['ids'] ?? {}) as Record<string, string>));
        expect([...seqs.keys()].toSorted()).toEqual(items.map((run) => run.id).toSorted());
        const indexes = Object.entries(found).filter(([key]) => /^[svu]:|^finished$/.test(key));
        expect(Object.fromEntries(indexes)).toEqual(indexesOf(items, seqs));
        const used = items.filter(
          (run) => run.service_version !== undefined && run.finished_at === undefined,
        );
        const versions = Map.groupBy(used, (run) => `${run.service_uid}/${run.service_version}`);
        expect(found['versions'] ?? {}).toEqual(
          Object.fromEntries([...versions].map(([key, runs]) => [key, String(runs.length)])),
        );

        for (const run of items) await ledger.transition({ id: run.id, from: runStates, to: 'failed' });
        await ledger.expire({ claimsBefore: everything, recordsBefore: everything, limit: 1000 });
        await ledger.removeFromOutbox((await ledger.readOutbox(1000)).map(({ seq }) => seq));
        const { epoch, meta, outbox, ...rest } = await contents(namespace);
        expect([epoch, outbox ?? 0, rest]).toEqual([expect.any(String), 0, {}]);
        expect(Object.keys(meta ?? {}).length).toBeLessThanOrEqual(2);
      }),
      { numRuns: 60 },
    );
  });
});

describe('retention', () => {
  it('goes by the ages of claims and of endings', async () => {
    const { ledger } = await setUp();
    const early = await claimOne(ledger);
    clock.advance(1000);
    await ledger.transition({ id: early.id, from: ['queued'], to: 'failed' });
    const finished = clock.now();
    clock.advance(1000);
    const late = await claimOne(ledger);
    await ledger.transition({ id: late.id, from: ['queued'], to: 'failed' });
    const older = await ledger.expire({ claimsBefore: clock.now() + 1, recordsBefore: finished, limit: 10 });
    expect(older).toEqual({ claims: 0, records: [] });
    const one = await ledger.expire({ claimsBefore: 0, recordsBefore: finished + 1, limit: 10 });
    expect(one.records).toEqual([{ id: early.id, service: early.service }]);
    await ledger.expire({ claimsBefore: early.created_at, recordsBefore: 0, limit: 10 });
    expect(await ledger.claimed([early.id])).toEqual([true]);
    await ledger.expire({ claimsBefore: early.created_at + 1, recordsBefore: 0, limit: 10 });
    expect(await ledger.claimed([early.id, late.id])).toEqual([false, true]);
  });
});

describe('runs whose events are big', () => {
  it('come in smaller pages and readings', async () => {
    const { ledger } = await setUp();
    const data = 'x'.repeat(60_000);
    const runs = Array.from({ length: 300 }, () =>
      newRun({ event: { kind: 'inline', encoding: 'utf8', data } }),
    );
    await ledger.claim(runs);
    const seen = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await ledger.list({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
      expect(page.items.length).toBeLessThan(200);
      for (const run of page.items) seen.add(run.id);
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen.size).toBe(300);
  });
});
