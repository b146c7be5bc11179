import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '@sluice/shared/adapters';
import type { Run } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import { busOf, ledgerOf, open, tempDatabase } from './sqlite-fixture.ts';

/** What a killed process was told, over all its lives. */
interface Told {
  readonly claimed: Set<string>;
  readonly state: Map<string, string>;
  readonly published: Set<string>;
  readonly maybeAcked: Set<string>;
  readonly acked: Set<string>;
}

let path: string;
let remove: () => Promise<void>;
let child: ChildProcess | undefined;
beforeEach(async () => {
  ({ path, remove } = await tempDatabase());
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await remove();
});

/** Lets a process work for a while, then kills it. */
async function workUntilKilled(told: Told, ms: number): Promise<void> {
  const script = fileURLToPath(new URL('sqlite-crash-writer.ts', import.meta.url));
  const worker = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  child = worker;
  const lines = createInterface({ input: worker.stdout });
  const ended = once(lines, 'close');
  lines.on('line', (line) => note(told, line));
  await once(lines, 'line');
  await delay(ms);
  worker.kill('SIGKILL');
  await ended;
  expect(worker.exitCode).toBeNull();
}

function note(told: Told, line: string): void {
  const [word, what, id] = line.split(' ');
  if (id === undefined) return;
  if (what === 'ack') (word === 'did' ? told.acked : told.maybeAcked).add(id);
  else if (what === 'publish') told.published.add(id);
  else if (what === 'claim') told.claimed.add(id);
  else told.state.set(id, what ?? '');
}

async function allRuns(ledger: RunLedger): Promise<readonly Run[]> {
  const runs: Run[] = [];
  let cursor: string | undefined;
  do {
    const page = await ledger.list({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    runs.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return runs;
}

const order = ['queued', 'starting', 'running', 'succeeded'];

async function checkLedger(db: Database, told: Told): Promise<void> {
  const ledger = ledgerOf(db);
  const runs = await allRuns(ledger);
  const byId = new Map(runs.map((run) => [run.id, run]));
  for (const id of told.claimed) expect(byId.get(id)).toBeDefined();
  for (const [id, state] of told.state) {
    expect(order.indexOf(byId.get(id)?.state ?? '')).toBeGreaterThanOrEqual(order.indexOf(state));
  }
  // Nothing half: a run has its time line and exactly the messages of the states that it went through.
  const expected = runs.flatMap(({ id, timeline }) => [
    `${id}.1.start`,
    ...timeline.map(({ state }) => `${id}.1.${state}`),
  ]);
  const outbox = await ledger.readOutbox(1_000_000);
  expect(outbox.map(({ message }) => message.id).sort()).toEqual(expected.sort());
  for (const { state, timeline } of runs) {
    expect(timeline.map((entry) => entry.state)).toEqual(order.slice(0, order.indexOf(state) + 1));
  }
  const counted = Object.entries(await ledger.counts()).filter(([, n]) => n > 0);
  const actual = Map.groupBy(runs, ({ state }) => state);
  expect(new Map(counted)).toEqual(new Map([...actual].map(([state, some]) => [state, some.length])));
}

async function checkBus(db: Database, told: Told): Promise<void> {
  const bus = busOf(db);
  const queue = await bus.workQueue({ durable: 'worker', name: 'runs.start', maxInFlight: 1_000_000 });
  const [backlog] = await queue.backlog();
  const deliveries = backlog === undefined ? [] : await queue.fetch(backlog.key, backlog.waiting);
  const ids = new Set(deliveries.map(({ message }) => message.id));
  for (const id of told.published) if (!told.maybeAcked.has(id)) expect(ids).toContain(id);
  for (const id of told.acked) expect(ids).not.toContain(id);
  expect(await bus.deadLetters.count()).toBe(0);
  await queue.close();
  await bus.close();
}

describe('kill -9', () => {
  it('loses nothing that was acknowledged, and leaves nothing half', async () => {
    const told: Told = {
      claimed: new Set(),
      state: new Map(),
      published: new Set(),
      maybeAcked: new Set(),
      acked: new Set(),
    };
    for (let round = 0; round < 4; round += 1) {
      const before = told.claimed.size;
      await workUntilKilled(told, 50 + Math.random() * 250);
      expect(told.claimed.size).toBeGreaterThan(before);
      const db = open(path);
      await checkLedger(db, told);
      await checkBus(db, told);
      await db.close();
    }
    expect(told.acked.size).toBeGreaterThan(0);
  }, 60_000);
});
