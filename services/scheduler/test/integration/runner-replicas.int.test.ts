import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFolderRunLogs, createSqliteBus, openDatabase } from '@sluice/shared/adapters';
import type { RunnerState, ServiceDefinition } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock } from '@sluice/shared/lifecycle';
import type { Leases, StoredDefinition } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock, type FakeClock } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLocalExecutor, type LocalExecutor } from '../../src/adapters/index.ts';
import { createRunnerPool, type RunnerPool } from '../../src/app/runners/pool.ts';
import { smallDefinition } from '../plan.ts';
import { invokeRunner, reachable } from '../runner-calls.ts';
import { openSharedRunners, type SharedRunners } from '../shared-runners.ts';

// Two schedulers' pools over real processes that outlive both, at a time that the test tells.
const log = silentLogger();
let root: string;
let clock: FakeClock;
let shared: SharedRunners;
let bus: ReturnType<typeof createSqliteBus>;
let leases: Lease;
let replicas: Replica[];
let said: RunnerState[];
let close: () => Promise<void>;

interface Replica {
  readonly pool: RunnerPool;
  readonly executor: LocalExecutor;
  /** Its clock stands still while it is false: a process that is not scheduled. */
  alive: boolean;
}

/** A lease as a store keeps it. */
interface Lease {
  holder: Replica | undefined;
  until: number;
  /** The store cannot be reached by this replica. */
  away: Replica | undefined;
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-replicas-'));
  [clock, replicas, said, leases] = [fakeClock(), [], [], { holder: undefined, until: 0, away: undefined }];
  shared = await openSharedRunners();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock: systemClock, log });
  bus = createSqliteBus({ db, namespace: 'test', clock: systemClock, log, random: randomBytes });
  const listening = await bus.listen(['runners.state'], (message) => {
    said.push(message.payload as RunnerState);
  });
  close = async () => {
    for (const { pool } of replicas) await pool.stop();
    await listening.stop();
    await bus.close();
    await db.close();
    await shared.close();
    await rm(root, { recursive: true, force: true });
  };
});
afterEach(() => close());

function leasesOf(replica: Replica): Leases {
  return {
    hold: (_name, forMs) => {
      const free = leases.holder === undefined || leases.until <= clock.monotonic();
      if (leases.away === replica || !(free || leases.holder === replica)) return Promise.resolve(false);
      [leases.holder, leases.until] = [replica, clock.monotonic() + forMs];
      return Promise.resolve(true);
    },
    release: () => {
      if (leases.holder === replica) leases.holder = undefined;
      return Promise.resolve();
    },
  };
}

async function open(services: readonly StoredDefinition[], host = shared.view()): Promise<Replica> {
  const executor = createLocalExecutor({
    kind: 'process',
    perform: () => Promise.reject(new Error('there are no attempts here')),
    logs: createFolderRunLogs({ root, clock }),
    workRoot: root,
    slots: 100,
    capacity: { cpuMillis: 10_000, memoryBytes: 2 ** 33 },
    clock,
    log,
  });
  const replica = { executor, alive: true } as Replica & { pool: RunnerPool };
  // Its own sleeps end late while it is not alive.
  const own = {
    ...clock,
    sleep: async (ms: number, signal?: AbortSignal): Promise<void> => {
      do await clock.sleep(ms, signal);
      while (!replica.alive);
    },
  };
  replica.pool = createRunnerPool({
    bus,
    host,
    executor,
    definitions: { secrets: () => Promise.resolve(undefined) },
    leases: leasesOf(replica),
    clock: own,
    log,
    randomId: () => randomBytes(8).toString('hex'),
    config: { idleMs: 30_000, drainMs: 1000, defaultTimeoutMs: 60_000 },
  });
  for (const service of services) replica.pool.put(service);
  await replica.pool.start();
  replicas.push(replica);
  return replica;
}

let versions = 0;
function define(min_scale: number, max_scale = 0, more: Partial<ServiceDefinition> = {}): StoredDefinition {
  versions += 1;
  const definition = smallDefinition({
    name: 'demo',
    script: `echo ${versions}\n`,
    synchronous: { min_scale, max_scale },
    ...more,
  });
  return { name: 'demo', uid: 'uid-demo', version: versions, definition } as StoredDefinition;
}

const count = async (): Promise<number> => (await shared.all.runners()).length;
const there = (expected: number): Promise<unknown> =>
  eventually(`${expected} runners`, async () => (await count()) === expected);

/** Second after second, with time for what each of them begins. */
async function pass(seconds: number, each: () => unknown = () => undefined): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.advance(1000);
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
    await each();
  }
}

test('one of two acts; after its end the other goes on with the same runners', async () => {
  const service = define(2);
  const first = await open([service]);
  await there(2);
  const second = await open([service]);
  await pass(30, async () => expect(await count()).toBe(2));
  expect(second.executor.reserved().cpuMillis).toBe(0);
  const before = await shared.all.runners();

  await first.pool.stop();
  expect(await count()).toBe(2);
  expect(first.executor.reserved().cpuMillis).toBe(0);
  await pass(3);
  await eventually('its room to be counted', () => second.executor.reserved().cpuMillis === 200);
  expect(await shared.all.runners()).toEqual(before);
  await eventually('word of them', () => said.at(-1)?.runners.every((one) => one.state === 'ready'));
  for (const { id, url = '' } of said.at(-1)?.runners ?? []) {
    expect(await invokeRunner(reachable(shared.key, id, url))).toMatchObject({ status: 200 });
  }
});

test('one that hangs is replaced within 15 seconds, and steps back when it goes on', async () => {
  const service = define(1);
  const first = await open([service]);
  await there(1);
  const second = await open([service]);
  first.alive = false;
  let seconds = 0;
  await pass(15, () => {
    if (second.executor.reserved().cpuMillis === 0) seconds += 1;
  });
  expect(seconds).toBeLessThan(15);
  expect(leases.holder).toBe(second);
  first.alive = true;
  await pass(5, async () => expect(await count()).toBe(1));
  expect(first.executor.reserved().cpuMillis).toBe(0);
  expect(leases.holder).toBe(second);
});

test('what is said comes from the one that acts', async () => {
  const service = define(1);
  const [first] = [await open([service]), await open([service])];
  await there(1);
  await pass(12);
  await eventually('word', () => said.length > 0);
  expect(said.every((one) => one.runners.length > 0 && one.desired === 1)).toBe(true);
  said.length = 0;
  bus.hint({ name: 'runners.ask', payload: { caller: 'test' } });
  await eventually('an answer', () => said.length > 0);
  await first?.pool.stop();
});

test('a lease that cannot be renewed for a moment changes nothing, and for long ends the acting', async () => {
  const service = define(1);
  const first = await open([service]);
  await there(1);
  leases.away = first;
  await pass(5);
  expect(first.executor.reserved().cpuMillis).toBe(100);
  await pass(3);
  expect(first.executor.reserved().cpuMillis).toBe(0);
  // Nobody starts or ends anything meanwhile.
  first.pool.put(define(3));
  await pass(5, async () => expect(await count()).toBe(1));
  leases.away = undefined;
  await pass(5);
  await eventually(
    'three of the new version',
    async () => (await shared.all.runners()).filter((one) => one.service_version === versions).length === 3,
  );
  await there(3);
});

test('what two started at the same time is one too many only for a moment', async () => {
  const service = define(1, 1);
  const first = await open([service]);
  await there(1);
  // As a replica that was paused right before it started one.
  const other = shared.view();
  await other.start(
    {
      runner_id: 'demo-late',
      service_uid: service.uid,
      service_version: service.version,
      definition: service.definition,
      script: 'true\n',
      secrets: { token: '', environment: {} },
    },
    { release: () => undefined },
  );
  expect(await count()).toBe(2);
  await pass(3);
  await there(1);
  expect(first.executor.reserved().cpuMillis).toBe(100);
});

test('one that cannot see the runners lets another one act', async () => {
  const service = define(1);
  const view = shared.view();
  let left = 0;
  const first = await open([service], {
    ...view,
    runners: () => Promise.reject(new AppError('unavailable', 'the cluster is away')),
    leave: (drainMs) => {
      left += 1;
      return view.leave(drainMs);
    },
  });
  expect(left).toBe(1);
  expect(leases.holder).toBeUndefined();
  await open([service]);
  await there(1);
  expect(leases.holder).toBe(replicas[1]);
  expect(first.executor.reserved().cpuMillis).toBe(0);
});

test('runners of a service that is gone are ended by who takes over', async () => {
  const first = await open([define(2)]);
  await there(2);
  await first.pool.stop();
  await open([]);
  await there(0);
  expect(leases.holder).toBe(replicas[1]);
});

test('more than may be are ended, and those of an older version that nobody needs', async () => {
  const service = define(4, 4);
  const first = await open([service]);
  await there(4);
  await first.pool.stop();
  const second = await open([
    { ...service, definition: { ...service.definition, synchronous: { min_scale: 0, max_scale: 3 } } },
  ]);
  await there(3);
  await second.pool.stop();
  const third = await open([define(0)]);
  await there(0);
  third.pool.put(define(1));
  await there(1);
  expect((await shared.all.runners())[0]?.service_version).toBe(versions);
});

test('those without need are kept for their time by who takes over', async () => {
  const first = await open([define(2)]);
  await there(2);
  await first.pool.stop();
  versions -= 1;
  await open([define(0)]);
  await pass(28, async () => expect(await count()).toBe(2));
  await pass(5);
  await there(0);
});
