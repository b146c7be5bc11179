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
  type Run,
  type RunnerState,
  type ServiceDefinition,
} from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { StoredDefinition } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { createLocalExecutor } from '../src/adapters/index.ts';
import { createScheduler, type RunnerHost, type Scheduler } from '../src/index.ts';
import { smallDefinition } from './plan.ts';
import { invokeRunner, reachable, type RunnerAnswer } from './runner-calls.ts';

export interface RunnerWorld {
  define(more: Partial<ServiceDefinition>): Promise<StoredDefinition>;
  update(stored: StoredDefinition, more: Partial<ServiceDefinition>): Promise<StoredDefinition>;
  remove(stored: StoredDefinition): Promise<void>;
  /** Says how much is asked for. */
  demand(stored: StoredDefinition, waiting: number, active?: number): void;
  ask(): void;
  state(stored: StoredDefinition): RunnerState | undefined;
  /** How often the state was said. */
  said(stored: StoredDefinition): number;
  ready(stored: StoredDefinition): RunnerState['runners'];
  /** Waits for that many ready runners. */
  settled(stored: StoredDefinition, count: number): Promise<RunnerState['runners']>;
  /** One call as the api makes it: a runner of the newest version there is, another one where that takes none. */
  call(stored: StoredDefinition): Promise<RunnerAnswer>;
  /** A run of the service, as its files make them. */
  run(stored: StoredDefinition): Promise<string>;
  runState(id: string): Promise<Run['state'] | undefined>;
  readonly scheduler: Scheduler;
  close(): Promise<void>;
}

/** The scheduler over the real bus, definitions and runners; only what a run does is left out. */
export async function openRunnerWorld(
  runners: { readonly host: RunnerHost; readonly key: string },
  options: { idleMs?: number; cpuMillis?: number } = {},
): Promise<RunnerWorld> {
  const root = await mkdtemp(join(tmpdir(), 'sluice-pool-'));
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
  const logs = createFolderRunLogs({ root: join(root, 'logs'), clock });
  const executor = createLocalExecutor({
    kind: 'process',
    perform: () => Promise.resolve({ result: 'succeeded', script_started: true, exit_code: 0, outputs: [] }),
    logs,
    workRoot: root,
    slots: 100,
    capacity: { cpuMillis: options.cpuMillis ?? 100_000, memoryBytes: 2 ** 33 },
    clock,
    log,
  });
  const scheduler = createScheduler({
    bus,
    ledger,
    definitions,
    logs,
    executor,
    runners: runners.host,
    clock,
    log,
    metrics: createMetrics(),
    config: {
      maxRuns: 100,
      defaultTimeoutMs: 60_000,
      recordRetentionMs: 86_400_000,
      marginMs: 86_400_000,
      drainMs: 2000,
      runnerIdleMs: options.idleMs ?? 60_000,
    },
  });
  const states = new Map<string, { state: RunnerState; said: number }>();
  const listening = await bus.listen(['runners.state'], (message) => {
    const state = message.payload as RunnerState;
    states.set(state.service_uid, { state, said: (states.get(state.service_uid)?.said ?? 0) + 1 });
  });
  await relay.start();
  await scheduler.start();

  const ready = (stored: StoredDefinition): RunnerState['runners'] =>
    states.get(stored.uid)?.state.runners.filter((one) => one.state === 'ready') ?? [];
  const call = async (stored: StoredDefinition): Promise<RunnerAnswer> =>
    eventually('a runner that takes the call', async () => {
      const known = ready(stored);
      const newest = Math.max(...known.map((one) => one.service_version));
      for (const { id, url, service_version } of known) {
        if (service_version !== newest || url === undefined) continue;
        const answer = await invokeRunner(reachable(runners.key, id, url));
        if (answer.result !== null) return answer;
      }
      return undefined;
    });
  return {
    scheduler,
    define: (more) =>
      definitions.create({
        definition: smallDefinition(more),
        secrets: { token: '0'.repeat(64), environment: {} },
        floors: [],
      }),
    update: (stored, more) =>
      definitions.update(
        { uid: stored.uid, version: stored.version },
        {
          definition: { ...stored.definition, ...more },
          secrets: { token: '0'.repeat(64), environment: {} },
          floors: [],
        },
      ),
    remove: async (stored) => void (await definitions.remove(stored.name)),
    demand: ({ name, uid }, waiting, active = 0) => {
      const payload = { service: name, service_uid: uid, caller: 'test', waiting, active };
      bus.hint({ name: 'runners.demand', key: name, payload });
    },
    ask: () => bus.hint({ name: 'runners.ask', payload: { caller: 'test' } }),
    state: ({ uid }) => states.get(uid)?.state,
    said: ({ uid }) => states.get(uid)?.said ?? 0,
    ready,
    settled: (stored, count) =>
      eventually(`${count} ready runners`, () => {
        const found = ready(stored);
        return found.length === count ? found : undefined;
      }),
    call,
    run: async ({ name, uid }) => {
      const id = `${name}-${randomUUID()}`;
      await ledger.claim([
        {
          id,
          service: name,
          service_uid: uid,
          source: 'job',
          event: { kind: 'inline', encoding: 'utf8', data: '{}' },
          traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
          hop: 0,
        },
      ]);
      return id;
    },
    runState: async (id) => (await ledger.get(id))?.state,
    close: async () => {
      await scheduler.stop();
      await listening.stop();
      await relay.stop();
      await bus.close();
      await db.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
