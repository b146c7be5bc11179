import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFolderRunLogs, createSqliteBus, openDatabase } from '@sluice/shared/adapters';
import type { ServiceDefinition } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import type { StoredDefinition } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock, type FakeClock } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLocalExecutor, createLocalRunners, type LocalExecutor } from '../../src/adapters/index.ts';
import { createRunnerPool, type RunnerPool } from '../../src/app/runners/pool.ts';
import type { Reservation } from '../../src/index.ts';
import { smallDefinition } from '../plan.ts';

// The pool, the executor's room and the host as they are, at a time that the test tells; only behind a runner there is no script.
const log = silentLogger();
let root: string;
let clock: FakeClock;
let executor: LocalExecutor;
let pool: RunnerPool;
/** Services of runners by id: those that are open, those with a call in hand, and of each start there was. */
let open: Map<string, string>;
let busy: Set<string>;
let starts: string[];
let versions: number;
let demand: (service: StoredDefinition, waiting: number, active?: number) => void;
let close: () => Promise<void>;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-room-'));
  [open, busy, starts, versions] = [new Map(), new Set(), [], 0];
  clock = fakeClock();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock: systemClock, log });
  const bus = createSqliteBus({ db, namespace: 'test', clock: systemClock, log, random: randomBytes });
  executor = createLocalExecutor({
    kind: 'process',
    perform: () => Promise.reject(new Error('there are no attempts here')),
    logs: createFolderRunLogs({ root, clock }),
    workRoot: root,
    slots: 100,
    capacity: { cpuMillis: 1000, memoryBytes: 2 ** 33 },
    clock,
    log,
  });
  const host = createLocalRunners({
    kind: 'process',
    limit: 32,
    server: {
      open: ({ runner_id, definition }) => {
        open.set(runner_id, definition.name);
        starts.push(definition.name);
        return { url: `http://127.0.0.1/${runner_id}` };
      },
      isBusy: (id) => busy.has(id),
      close: (id) => {
        if (busy.has(id)) return Promise.reject(new Error('a busy runner was ended'));
        open.delete(id);
        return Promise.resolve();
      },
    },
    scriptsFor: () => Promise.resolve({ scripts: {}, close: () => Promise.resolve() }),
    log,
  });
  pool = createRunnerPool({
    bus,
    host,
    executor,
    definitions: { secrets: () => Promise.resolve(undefined) },
    clock,
    log,
    randomId: () => randomBytes(8).toString('hex'),
    config: { idleMs: 60_000, drainMs: 0, defaultTimeoutMs: 60_000 },
  });
  demand = ({ name, uid }, waiting, active = 0) => {
    const payload = { service: name, service_uid: uid, caller: 'test', waiting, active };
    bus.hint({ name: 'runners.demand', key: name, payload });
  };
  await pool.start();
  close = async () => {
    busy.clear();
    await pool.stop();
    await bus.close();
    await db.close();
    await rm(root, { recursive: true, force: true });
  };
});
afterEach(() => close());

function define(name: string, minScale: number, more: Partial<ServiceDefinition> = {}): StoredDefinition {
  versions += 1;
  const synchronous = { min_scale: minScale, max_scale: 0 };
  const definition = smallDefinition({ name, synchronous, ...more });
  const stored = { name, uid: `uid-${name}`, version: versions, definition } as StoredDefinition;
  pool.put(stored);
  return stored;
}

const full = (): Promise<unknown> => eventually('ten runners', () => open.size === 10);
const runnersOf = (name: string): string[] =>
  [...open].flatMap(([id, service]) => (service === name ? [id] : []));

/** Lets all that was begun come to its end, second after second. */
async function pass(seconds: number, each: () => void | Promise<void> = () => undefined): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.advance(1000);
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    await each();
  }
}

/** What the dispatcher does for a run that waits. */
async function askForRun(cpuMillis: number): Promise<Reservation | undefined> {
  if (pool.keepsRoom()) return undefined;
  const reservation = await executor.reserve({ cpuMillis, memoryBytes: 0 });
  if (reservation === undefined) pool.makeRoom();
  return reservation;
}

test('runners of min_scale make way for a run, stay away while it waits, and come back', async () => {
  for (let n = 0; n < 12; n += 1) define(`s${n}`, 1);
  await full();
  await pass(30);
  // Those that found no room take nobody else's.
  expect(starts.length).toBe(10);
  let run: Reservation | undefined;
  await pass(20, async () => {
    run ??= await askForRun(500);
  });
  expect(run).toBeDefined();
  expect(open.size).toBe(5);
  expect(starts.length).toBe(10);
  run?.release();
  await full();
  expect(starts.length).toBe(15);
  await pass(60);
  expect(starts.length).toBe(15);
});

test('runs one after the other: nothing is started between them only to be kept ready', async () => {
  for (let n = 0; n < 12; n += 1) define(`s${n}`, 1);
  await full();
  await pass(2);
  let run: Reservation | undefined;
  await pass(60, async () => {
    run?.release();
    run = await askForRun(1000);
    // The next one waits already.
    await askForRun(1000);
  });
  expect(run).toBeDefined();
  expect(starts.length).toBe(10);
  run?.release();
  await pass(6);
  await full();
});

test('a call of a service without a runner gets one, those in use stay', async () => {
  const services = Array.from({ length: 10 }, (_, n) => define(`s${n}`, 1));
  await full();
  for (const service of services.slice(1)) {
    demand(service, 0, 1);
    for (const id of runnersOf(service.name)) busy.add(id);
  }
  await pass(1);
  const late = define('late', 0);
  demand(late, 1);
  await eventually('a runner', () => runnersOf('late').length === 1);
  expect(runnersOf('s0')).toEqual([]);
  expect([...busy].every((id) => open.has(id))).toBe(true);
  // Its call is over: min_scale does not take the room back before the runner is idle for its time.
  demand(late, 0);
  await pass(50, () => {
    for (const service of services.slice(1)) demand(service, 0, 1);
  });
  expect(starts.length).toBe(11);
  await pass(30);
  expect(runnersOf('s0').length).toBe(1);
});

test('one for a call before the second of another by min_scale', async () => {
  define('many', 10);
  await full();
  const late = define('late', 0);
  demand(late, 1);
  await eventually('a runner', () => runnersOf('late').length === 1);
  expect(runnersOf('many').length).toBe(9);
});

test('a call that needs much is not overtaken for ever: room is kept for it', async () => {
  const small = Array.from({ length: 10 }, (_, n) => define(`s${n}`, 0));
  for (const service of small) demand(service, 1);
  await full();
  for (const id of open.keys()) busy.add(id);
  const big = define('big', 0, { cpu: '1' });
  let second = 0;
  const runs: Reservation[] = [];
  await pass(18, async () => {
    second += 1;
    demand(big, 1);
    // One call after the other ends, and its service has another one at once; files come as well.
    for (const [n, service] of small.entries()) {
      const isOver = n < second - 4;
      if (isOver) for (const id of runnersOf(service.name)) busy.delete(id);
      demand(service, isOver ? 0 : 1, 0);
    }
    const other = define(`other${second}`, 0);
    if (second > 3) demand(other, 1);
    const run = await askForRun(100);
    if (run !== undefined) runs.push(run);
  });
  for (const run of runs) run.release();
  await eventually('the big one', () => runnersOf('big').length === 1);
  expect([...open.values()]).toEqual(['big']);
});
