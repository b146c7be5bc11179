import { systemClock } from '@sluice/shared/lifecycle';
import type { Leases } from '@sluice/shared/stores';

/** Leases of several replicas in one process. A replica that was killed neither renews nor releases. */
export interface SharedLeases {
  replica(name: string): Leases & { kill(): void };
  holder(lease: string): string | undefined;
}

export function createSharedLeases(): SharedLeases {
  const held = new Map<string, { readonly by: string; readonly until: number }>();
  const holder = (lease: string): string | undefined => {
    const entry = held.get(lease);
    return entry === undefined || entry.until < systemClock.monotonic() ? undefined : entry.by;
  };
  return {
    holder,
    replica: (name) => {
      let alive = true;
      return {
        hold: async (lease, forMs) => {
          if (!alive || (holder(lease) ?? name) !== name) return false;
          held.set(lease, { by: name, until: systemClock.monotonic() + forMs });
          return true;
        },
        release: async (lease) => {
          if (alive && holder(lease) === name) held.delete(lease);
        },
        kill: () => {
          alive = false;
        },
      };
    },
  };
}
