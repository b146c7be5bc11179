import type { RunnerDemand } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';

/** Milliseconds after which what a caller said counts no more: it says it again every few seconds. */
const validMs = 10_000;
/** Services and callers that are kept in mind; nobody has as many, unless by mistake. */
const maxServices = 10_000;
const maxCallers = 1000;

/** What the callers ask for, by service. */
export interface DemandTable {
  note(demand: RunnerDemand): void;
  /** Of all callers that said something lately. */
  of(serviceUid: string): { readonly waiting: number; readonly active: number };
  forget(serviceUid: string): void;
}

interface Said {
  readonly waiting: number;
  readonly active: number;
  readonly at: number;
}

export function createDemandTable(clock: Pick<Clock, 'monotonic'>): DemandTable {
  const services = new Map<string, Map<string, Said>>();
  return {
    note: ({ service_uid, caller, waiting, active }) => {
      const callers = services.get(service_uid) ?? new Map<string, Said>();
      callers.delete(caller);
      if (waiting + active > 0 && callers.size < maxCallers) {
        callers.set(caller, { waiting, active, at: clock.monotonic() });
      }
      services.delete(service_uid);
      if (callers.size > 0) services.set(service_uid, callers);
      const [oldest] = services.keys();
      if (services.size > maxServices && oldest !== undefined) services.delete(oldest);
    },
    of: (serviceUid) => {
      const callers = services.get(serviceUid);
      let waiting = 0;
      let active = 0;
      for (const [caller, said] of callers ?? []) {
        if (clock.monotonic() - said.at > validMs) callers?.delete(caller);
        else {
          waiting += said.waiting;
          active += said.active;
        }
      }
      if (callers?.size === 0) services.delete(serviceUid);
      return { waiting, active };
    },
    forget: (serviceUid) => {
      services.delete(serviceUid);
    },
  };
}
