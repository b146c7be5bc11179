import type { Bus } from '@sluice/shared/bus';
import { createPeriodic, type Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { ServiceId } from './known-runners.ts';

/** Said again this often while it is not zero: a hint may be lost, and a process that died says nothing. */
const everyMs = 3000;
/** Repetitions for which a missed call is counted. */
const missedTurns = 2;

/** Less is said only after this: between two calls of one caller there is nothing to do for a moment. */
const fallMs = 50;

/** How much of a service's runners this process asks for. */
export interface Demand {
  readonly waiting: number;
  readonly active: number;
}

/** Says `runners.demand`. */
export interface DemandTeller {
  start(): void;
  /** Something changed: more is said at the end of this turn of the event loop, once for all changes; less a little later. */
  changed(service: ServiceId): void;
  /**
   * A call was answered that there is no runner and does not wait. It counts as waiting for some seconds:
   * nobody would try again otherwise, after what kept runners from starting is mended.
   */
  missed(service: ServiceId): void;
  /** Says zero for all. */
  stop(): Promise<void>;
}

interface Told extends ServiceId, Demand {
  /** Repetitions that still count a call that was missed. */
  missed: number;
}

interface DemandDeps {
  readonly bus: Pick<Bus, 'hint'>;
  readonly caller: string;
  readonly demandOf: (service: ServiceId) => Demand;
  readonly clock: Clock;
  readonly log: Logger;
}

export function createDemandTeller(deps: DemandDeps): DemandTeller {
  /** Services whose last word was not zero, by uid. */
  const told = new Map<string, Told>();
  const changes = createChanges(deps.clock, (service, settled) => {
    const before = told.get(service.uid) ?? nothing;
    const { waiting, active } = deps.demandOf(service);
    if (waiting === before.waiting && active === before.active && before.missed === 0) return true;
    const more = waiting + active > before.waiting + before.active;
    if (!more && !settled && before.missed === 0) return false;
    say(deps, told, service);
    return true;
  });
  let periodic: { stop(): Promise<void> } | undefined;
  return {
    start: () => {
      periodic = createPeriodic({ ...deps, name: 'demand', everyMs }, async () => {
        for (const service of told.values()) {
          service.missed = Math.max(0, service.missed - 1);
          say(deps, told, service);
        }
      });
    },
    changed: changes.note,
    missed: ({ name, uid }) => {
      told.set(uid, { ...nothing, name, uid, missed: missedTurns });
      say(deps, told, { name, uid });
    },
    stop: async () => {
      changes.stop();
      await periodic?.stop();
      for (const service of told.values()) hint(deps, service, { waiting: 0, active: 0 });
      told.clear();
    },
  };
}

function say(deps: DemandDeps, told: Map<string, Told>, service: ServiceId): void {
  const { waiting, active } = deps.demandOf(service);
  const { name, uid } = service;
  const missed = told.get(uid)?.missed ?? 0;
  if (waiting + active + missed === 0) told.delete(uid);
  else told.set(uid, { name, uid, missed, waiting, active });
  hint(deps, service, { waiting: waiting + active === 0 && missed > 0 ? 1 : waiting, active });
}

function hint(deps: DemandDeps, { name, uid }: ServiceId, { waiting, active }: Demand): void {
  const payload = { service: name, service_uid: uid, caller: deps.caller, waiting, active };
  try {
    deps.bus.hint({ name: 'runners.demand', key: name, payload });
  } catch (error) {
    deps.log.warn({ err: error, service: name }, 'demand for runners could not be said');
  }
}

const nothing = { waiting: 0, active: 0, missed: 0 };

/**
 * Gathers the services that changed in one turn of the event loop.
 * @param each false: it is asked again a little later, then for good
 */
function createChanges(
  clock: Clock,
  each: (service: ServiceId, settled: boolean) => boolean,
): { note(service: ServiceId): void; stop(): void } {
  const changed = new Map<string, ServiceId>();
  const falling = new Set<string>();
  const stopping = new AbortController();
  let planned = false;
  const settle = async (service: ServiceId): Promise<void> => {
    await clock.sleep(fallMs, stopping.signal);
    falling.delete(service.uid);
    each(service, true);
  };
  const flush = (): void => {
    planned = false;
    const services = [...changed.values()];
    changed.clear();
    if (stopping.signal.aborted) return;
    for (const service of services) {
      if (each(service, false) || falling.has(service.uid)) continue;
      falling.add(service.uid);
      settle(service).catch(() => undefined);
    }
  };
  return {
    note: (service) => {
      changed.set(service.uid, service);
      if (planned || stopping.signal.aborted) return;
      planned = true;
      setImmediate(flush);
    },
    stop: () => {
      stopping.abort();
    },
  };
}
