import type { Clock } from '@sluice/shared/lifecycle';
import type { Leases } from '@sluice/shared/stores';

/** Whoever has it looks after the runners of all services. */
const leaseName = 'scheduler-runners';
/** Milliseconds after which another replica may take it from one that says nothing. */
const leaseMs = 9000;
/** Milliseconds before that in which its holder acts no more: an order that was given has to arrive. */
const marginMs = 2000;
const renewMs = 2000;
/** Milliseconds that the answer may take. */
const patienceMs = 1500;

export interface Lead {
  /** Whether this process may act now. Asks for the lease now and then: call it every second. */
  keep(): Promise<boolean>;
  /** Lets another one have it at once. */
  letGo(): Promise<void>;
}

export function createLead({ leases, clock }: { readonly leases: Leases; readonly clock: Clock }): Lead {
  let until = -Infinity;
  let next = -Infinity;
  return {
    keep: async () => {
      const asked = clock.monotonic();
      if (asked >= next) {
        const mine = await withPatience(clock, leases.hold(leaseName, leaseMs));
        // A refusal says nothing about the time that it was given for before.
        if (mine) until = asked + leaseMs - marginMs;
        next = asked + (mine || asked >= until ? renewMs : 0);
      }
      return clock.monotonic() < until;
    },
    letGo: async () => {
      [until, next] = [-Infinity, -Infinity];
      await leases.release(leaseName);
    },
  };
}

/** False for what comes too late or fails. */
async function withPatience(clock: Clock, answer: Promise<boolean>): Promise<boolean> {
  const timer = new AbortController();
  const late = clock.sleep(patienceMs, timer.signal).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([answer.catch(() => false), late]);
  } finally {
    timer.abort();
  }
}
