import type { RunnerDemand } from '@sluice/shared/contracts';
import { createPeriodic } from '@sluice/shared/lifecycle';
import type { LiveMessage } from '@sluice/shared/bus';
import { createSoleLeases, type StoredDefinition } from '@sluice/shared/stores';
import { createDemandTable } from './demand.ts';
import { placesInUse, say, type PoolDeps, type PoolState } from './pool-state.ts';
import { endForRoom, reconcile, reconcileWaiting, runnerExited } from './reconcile.ts';
import { createLead, type Lead } from './lead.ts';
import { idleRunner, keptFor } from './room.ts';
import { createServiceRunners, isNotable, type ServiceRunners } from './service-runners.ts';
import { adoptNew, resign, takeOver } from './take-over.ts';

const tickMs = 1000;
/** Ticks after which the state is said again, changed or not. */
const sayEvery = 5;
/** Milliseconds that a runner which has ended is still told of, and how many of a service, for their logs. */
const endedMs = 240_000;
const endedRunners = 8;

/** Keeps the warm runners of all services. Of several replicas one acts; the others listen, so that they know what is needed when it is their turn. */
export interface RunnerPool {
  start(): Promise<void>;
  /** A definition as it is now. */
  put(stored: StoredDefinition): void;
  /** A service is gone. */
  removed(uid: string): void;
  /** A run waits for room: ends an idle runner, if there is one, and starts none for a while that is only to be kept ready. */
  makeRoom(): void;
  /** Room that frees is kept for a call that has waited long for its first runner. */
  keepsRoom(): boolean;
  /** Leaves runners that another replica can adopt as they are; else lets calls in hand end within the time of the configuration, then ends all. */
  stop(): Promise<void>;
}

export function createRunnerPool(deps: PoolDeps): RunnerPool {
  const pool: PoolState = {
    ...deps,
    services: new Map(),
    demand: createDemandTable(deps.clock),
    waiting: new Set(),
    calling: new Set(),
    runRefusedAt: undefined,
    starting: 0,
    running: false,
  };
  const lead = createLead({ leases: deps.leases ?? createSoleLeases(), clock: deps.clock });
  let stops: (() => Promise<void>)[] = [];
  return {
    start: async () => {
      stops = await start(pool, lead);
    },
    put: (stored) => {
      put(pool, stored);
    },
    removed: (uid) => {
      removed(pool, uid);
    },
    makeRoom: () => {
      if (!pool.running) return;
      pool.runRefusedAt = pool.clock.monotonic();
      const victim = idleRunner(pool);
      if (victim !== undefined) endForRoom(pool, victim);
    },
    keepsRoom: () => {
      if (!pool.running || keptFor(pool) === undefined) return false;
      // A place of the host is nothing that a run could take.
      return placesInUse(pool) < pool.host.limit;
    },
    stop: async () => {
      for (const stop of stops.splice(0)) await stop();
      if (pool.host.shared) {
        if (pool.running) await resign(pool);
      } else {
        pool.running = false;
        await pool.host.close(pool.config.drainMs);
      }
      await lead.letGo();
    },
  };
}

async function start(pool: PoolState, lead: Lead): Promise<(() => Promise<void>)[]> {
  const { bus, host, executor, clock, log } = pool;
  host.onExit((runnerId, reason, inOrder = false) => {
    exited(pool, runnerId, inOrder ? undefined : reason);
  });
  executor.onRoom(() => {
    reconcileWaiting(pool);
  });
  const listening = await bus.listen(['runners.demand', 'runners.ask'], (message) => {
    heard(pool, message);
  });
  let ticks = 0;
  const turn = async (): Promise<void> => {
    ticks += 1;
    if (await leads(pool, lead)) tick(pool, ticks % sayEvery === 0);
  };
  // A failure now is one that the next turn mends.
  await turn().catch((error: unknown) => {
    log.warn({ err: error }, 'runners cannot be looked after yet');
  });
  const periodic = createPeriodic({ name: 'runners', everyMs: tickMs, clock, log }, turn);
  return [() => periodic.stop(), () => listening.stop()];
}

/** Takes over or resigns, as the lease says; whether this process acts now. */
async function leads(pool: PoolState, lead: Lead): Promise<boolean> {
  const mine = await lead.keep();
  if (mine && !pool.running) {
    try {
      await takeOver(pool);
    } catch (error) {
      // Another replica may reach what this one does not.
      if (pool.host.shared) await pool.host.leave(0);
      await lead.letGo();
      throw error;
    }
  } else if (mine) await adoptNew(pool);
  else if (pool.running) await resign(pool);
  return mine;
}

function put(pool: PoolState, stored: StoredDefinition): void {
  const known = pool.services.get(stored.uid);
  if (known === undefined) {
    const service = createServiceRunners(stored, pool.clock.now());
    pool.services.set(stored.uid, service);
    reconcile(pool, service);
    return;
  }
  if (stored.version <= known.stored.version) return;
  known.stored = stored;
  known.failure = undefined;
  reconcile(pool, known);
}

function removed(pool: PoolState, uid: string): void {
  const service = pool.services.get(uid);
  if (service === undefined) return;
  service.gone = true;
  pool.demand.forget(uid);
  reconcile(pool, service);
  forgetEnded(pool, service);
}

function heard(pool: PoolState, message: LiveMessage): void {
  if (message.name === 'runners.ask') {
    if (!pool.running) return;
    for (const service of pool.services.values()) say(pool, service, true);
    return;
  }
  // The bus has checked it against its contract.
  const demand = message.payload as RunnerDemand;
  pool.demand.note(demand);
  const service = pool.services.get(demand.service_uid);
  if (service === undefined) return;
  // Said when the last call ends, too.
  service.usedAt = pool.clock.monotonic();
  reconcile(pool, service);
}

/** @param fault undefined where it ended as it should */
function exited(pool: PoolState, runnerId: string, fault: string | undefined): void {
  for (const service of pool.services.values()) {
    const runner = service.runners.get(runnerId);
    if (runner !== undefined) runnerExited(pool, service, runner, fault);
  }
}

function tick(pool: PoolState, again: boolean): void {
  for (const service of pool.services.values()) {
    reconcile(pool, service);
    forgetEnded(pool, service);
    if (again && isNotable(service)) say(pool, service, true);
  }
}

function forgetEnded(pool: PoolState, service: ServiceRunners): void {
  const ended = [...service.runners.values()].filter((runner) => runner.state === 'ended');
  const old = pool.clock.monotonic() - endedMs;
  const surplus = ended.length - endedRunners;
  for (const [index, runner] of ended.entries()) {
    if (service.gone || index < surplus || runner.since <= old) service.runners.delete(runner.id);
  }
  if (service.gone && service.runners.size === 0) {
    pool.services.delete(service.stored.uid);
    pool.waiting.delete(service);
    pool.calling.delete(service);
  }
}
