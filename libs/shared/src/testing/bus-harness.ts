import type { Bus, Delivery, OutgoingMessage } from '../bus/index.ts';

/** A bus of its own for each test. */
export interface BusHarness {
  readonly bus: Bus;
  /** Ends the bus as a crash would, as far as that can be done in one process, and opens it again. */
  restart(): Promise<Bus>;
  /** Cuts the connection, which comes back by itself; absent where there is none that could be lost. */
  readonly cut?: () => Promise<void>;
  close(): Promise<void>;
}

/** @param limits of the streams, where a test needs small ones */
export type MakeBus = (limits?: { readonly commands?: number }) => Promise<BusHarness>;

/** A valid `runs.start`. */
export function startMessage(id: string, key = 'thumbnail'): OutgoingMessage {
  return { id, name: 'runs.start', key, payload: { run_id: id, service: key, attempt: 1 } };
}

/** A valid event. */
export function queuedEvent(id: string, key = 'thumbnail'): OutgoingMessage {
  const payload = {
    run_id: id,
    service: key,
    service_uid: 'u',
    state: 'queued',
    attempt: 1,
    source: 'job',
    at: 1,
  };
  return { id, name: 'runs.queued', key, payload };
}

/** What a handler has been given, by id, in order. */
export function recorder(): {
  readonly seen: Delivery[];
  ids(): string[];
  readonly handler: (it: Delivery) => Promise<void>;
} {
  const seen: Delivery[] = [];
  return {
    seen,
    ids: () => seen.map(({ message }) => message.id),
    handler: async (delivery) => {
      seen.push(delivery);
    },
  };
}

export const numbered = (count: number, prefix = 'm'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);
