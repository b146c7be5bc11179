import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createFolderRunLogs,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteRunLedger,
  openDatabase,
} from '@sluice/shared/adapters';
import { createOutboxRelay } from '@sluice/shared/bus';
import {
  runChangedMessage,
  runStartMessage,
  type AttemptOutcome,
  type Run,
  type ServiceDefinition,
} from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { StoredDefinition } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLocalExecutor } from '../../src/adapters/index.ts';
import { createScheduler, type PerformAttempt } from '../../src/index.ts';
import { smallDefinition } from '../plan.ts';

// The scheduler over the real bus, ledger and definitions; only what an attempt does is scripted here.
let root: string;
let world: ReturnType<typeof open>;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-scheduler-'));
  world = open();
});
afterEach(async () => {
  await world.stop();
  await rm(root, { recursive: true, force: true });
});

function open() {
  const log = silentLogger();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock, log });
  const bus = createSqliteBus({ db, namespace: 'test', clock, log, random: randomBytes });
  const ledger = createSqliteRunLedger({
    db,
    clock,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
    startMessage: (run) => runStartMessage(run),
  });
  const definitions = createSqliteDefinitionStore({ db, clock, random: randomBytes });
  const relay = createOutboxRelay({ ledger, bus, clock, log });
  const stops: (() => Promise<void>)[] = [];
  return {
    bus,
    ledger,
    definitions,
    schedule: async (perform: PerformAttempt, slots = 4) => {
      const logs = createFolderRunLogs({ root: join(root, 'logs'), clock });
      const executor = createLocalExecutor({
        kind: 'process',
        perform,
        logs,
        workRoot: root,
        slots,
        clock,
        log,
        capacity: { cpuMillis: 1000, memoryBytes: 2 ** 30 },
      });
      const scheduler = createScheduler({
        bus,
        ledger,
        definitions,
        logs,
        executor,
        clock,
        log,
        metrics: createMetrics(),
        config: {
          maxRuns: slots,
          defaultTimeoutMs: 1000,
          recordRetentionMs: 86_400_000,
          marginMs: 86_400_000,
          drainMs: 0,
          auditIntervalMs: 50,
        },
      });
      await relay.start();
      await scheduler.start();
      stops.push(() => scheduler.stop());
      return scheduler;
    },
    stop: async () => {
      for (const stop of stops) await stop();
      await relay.stop();
      await bus.close();
      await db.close();
    },
  };
}

async function define(more: Partial<ServiceDefinition>): Promise<StoredDefinition> {
  return world.definitions.create({
    definition: smallDefinition(more),
    secrets: { token: '0'.repeat(64), environment: {} },
    floors: [],
  });
}

async function claim(stored: StoredDefinition, count = 1): Promise<string[]> {
  const ids = Array.from({ length: count }, () => `${stored.name}-${randomUUID()}`);
  await world.ledger.claim(
    ids.map((id) => ({
      id,
      service: stored.name,
      service_uid: stored.uid,
      source: 'job' as const,
      event: { kind: 'inline' as const, encoding: 'utf8' as const, data: '{}' },
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      hop: 0,
    })),
  );
  return ids;
}

const stateOf = (id: string, state: Run['state']): Promise<Run> =>
  eventually(`${id} to be ${state}`, async () => {
    const run = await world.ledger.get(id);
    return run?.state === state ? run : undefined;
  });

const done: AttemptOutcome = { result: 'succeeded', script_started: true, outputs: [] };
const untilAborted: PerformAttempt = (_plan, context) =>
  new Promise((resolve) => {
    context.report({ phase: 'running' });
    context.signal.addEventListener('abort', () => {
      resolve({ result: 'cancelled', script_started: true, outputs: [] });
    });
  });

test('serves services in turn: a single file is not behind a crowd', async () => {
  const order: string[] = [];
  const [crowd, single] = [await define({ name: 'crowd' }), await define({ name: 'single' })];
  await claim(crowd, 50);
  const [id = ''] = await claim(single);
  await world.schedule((plan) => {
    order.push(plan.definition.name);
    return Promise.resolve(done);
  }, 1);
  await stateOf(id, 'succeeded');
  expect(order.indexOf('single')).toBeLessThan(5);
  await eventually('the crowd', async () => (await world.ledger.counts('crowd')).succeeded === 50);
});

test('runs no more of a service than its definition allows', async () => {
  let active = 0;
  let most = 0;
  const stored = await define({ name: 'narrow', sluice: { max_concurrency: 2 } });
  await claim(stored, 12);
  await world.schedule(async () => {
    active += 1;
    most = Math.max(most, active);
    await clock.sleep(5);
    active -= 1;
    return done;
  });
  await eventually('all', async () => (await world.ledger.counts('narrow')).succeeded === 12);
  expect(most).toBe(2);
});

test('a big service gets its turn although small ones keep coming', async () => {
  const [big, small] = [await define({ name: 'big', cpu: '64' }), await define({ name: 'small' })];
  await claim(small, 1000);
  const [id = ''] = await claim(big);
  await world.schedule(async () => {
    await clock.sleep(30);
    return done;
  });
  await eventually('big', async () => (await world.ledger.get(id))?.state === 'succeeded', 15_000);
  expect((await world.ledger.counts('small')).queued).toBeGreaterThan(0);
});

test('a cancel command ends a waiting run at once and a running one through its executor', async () => {
  const stored = await define({ name: 'slow', sluice: { max_concurrency: 1 } });
  const [first = '', second = ''] = await claim(stored, 2);
  await world.schedule(untilAborted);
  const active = await Promise.race([stateOf(first, 'running'), stateOf(second, 'running')]);
  const waiting = active.id === first ? second : first;
  for (const id of [waiting, active.id]) {
    await world.bus.publish([
      {
        id: `${id}.cancel`,
        name: 'runs.cancel',
        key: 'slow',
        payload: { run_id: id, service: 'slow', reason: 'enough' },
      },
    ]);
  }
  expect((await stateOf(waiting, 'cancelled')).timeline.at(-1)?.message).toContain('enough');
  expect((await stateOf(active.id, 'cancelled')).attempt).toBe(1);
});

test('removing a service cancels all that it has waiting and running', async () => {
  const stored = await define({ name: 'gone', sluice: { max_concurrency: 1 } });
  await claim(stored, 30);
  await world.schedule(untilAborted);
  await eventually('one to run', async () => (await world.ledger.counts('gone')).running === 1);
  await world.definitions.remove('gone');
  await eventually('all to be cancelled', async () => (await world.ledger.counts('gone')).cancelled === 30);
});

test('a service made anew under the same name does not inherit runs', async () => {
  const before = await define({ name: 'again' });
  const [id = ''] = await claim(before);
  await world.definitions.remove('again');
  await define({ name: 'again' });
  await world.schedule(() => Promise.resolve(done));
  expect((await stateOf(id, 'cancelled')).timeline.at(-1)?.message).toContain('deleted');
});

test('what was under way when the process died starts again, as another attempt', async () => {
  const stored = await define({ name: 'lost' });
  const [id = ''] = await claim(stored);
  // As a killed process leaves it: taken and running in the ledger, unknown to any executor.
  await world.ledger.transition({ id, from: ['queued'], to: 'starting', set: { service_version: 1 } });
  await world.ledger.transition({ id, from: ['starting'], to: 'running' });
  const attempts: number[] = [];
  await world.schedule((plan) => {
    attempts.push(plan.attempt);
    return Promise.resolve(done);
  });
  const run = await stateOf(id, 'succeeded');
  expect(attempts).toEqual([2]);
  expect(run.infra_failures).toBe(1);
});

test('an attempt that vanishes later is found by the audit', async () => {
  const stored = await define({ name: 'vanished' });
  await world.schedule(() => Promise.resolve(done));
  const [id = ''] = await claim(stored);
  await stateOf(id, 'succeeded');
  const [other = ''] = await claim(stored);
  await stateOf(other, 'succeeded');
  const ghost = `vanished-${randomUUID()}`;
  await define({ name: 'limbo', sluice: { max_concurrency: 1 } });
  const limbo = await world.definitions.get('limbo');
  if (limbo === undefined) throw new Error('expected the definition');
  await world.ledger.claim([
    {
      id: ghost,
      service: 'limbo',
      service_uid: limbo.uid,
      source: 'job',
      hop: 0,
      event: { kind: 'inline', encoding: 'utf8', data: '{}' },
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    },
  ]);
  // Somebody else takes it before the scheduler does, or it takes it: either way it must end.
  await world.ledger.transition({ id: ghost, from: ['queued'], to: 'starting', set: { service_version: 1 } });
  await stateOf(ghost, 'succeeded');
});

test('a start message that comes twice starts one attempt', async () => {
  let performed = 0;
  const stored = await define({ name: 'twice' });
  const [id = ''] = await claim(stored);
  const run = await world.ledger.get(id);
  if (run === undefined) throw new Error('expected the run');
  await world.bus.publish([{ ...runStartMessage(run), id: 'another-id' }]);
  await world.schedule(() => {
    performed += 1;
    return Promise.resolve(done);
  });
  await stateOf(id, 'succeeded');
  await eventually('the queue to be empty', async () => {
    const queue = await world.bus.deadLetters.count();
    return queue === 0 && (await world.ledger.counts('twice')).queued === 0;
  });
  expect(performed).toBe(1);
});

test('a start message for a run that nobody knows is dropped', async () => {
  await define({ name: 'known' });
  const scheduler = await world.schedule(() => Promise.resolve(done));
  await world.bus.publish([
    {
      id: 'x',
      name: 'runs.start',
      key: 'known',
      payload: { run_id: 'known-nobody', service: 'known', attempt: 1 },
    },
  ]);
  const [id = ''] = await claim(
    (await world.definitions.get('known')) ?? (await define({ name: 'unreachable' })),
  );
  await stateOf(id, 'succeeded');
  await eventually('no place to be in use', () => scheduler.slots().used === 0);
  expect(await world.bus.deadLetters.count()).toBe(0);
});
