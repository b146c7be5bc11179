import { createHash } from 'node:crypto';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Leases } from '@sluice/shared/stores';
import { mapLimited } from '../limited.ts';

/** Which input paths this replica lists, so that the others need not. */
export interface PathLeases {
  /**
   * Takes or keeps a path.
   * @param forMs until another replica may take it
   */
  hold(key: string, forMs: number): Promise<boolean>;
  /** Lets go of a path, if it is held. */
  release(key: string): Promise<void>;
  /** Lets go of all paths that are not among these. */
  releaseOthers(keys: ReadonlySet<string>): Promise<void>;
}

const releasesAtOnce = 16;
/** What is not released by then ends by itself. */
const releaseMs = 3000;

export function createPathLeases({ leases, clock }: { leases: Leases; clock: Clock }): PathLeases {
  const held = new Set<string>();
  const release = async (key: string): Promise<void> => {
    if (held.delete(key)) await leases.release(leaseName(key));
  };
  return {
    hold: async (key, forMs) => {
      const holds = await leases.hold(leaseName(key), forMs);
      if (holds) held.add(key);
      else held.delete(key);
      return holds;
    },
    release,
    releaseOthers: async (keys) => {
      const until = clock.monotonic() + releaseMs;
      await mapLimited(
        [...held].filter((key) => !keys.has(key)),
        releasesAtOnce,
        async (key) => {
          if (clock.monotonic() < until) await release(key);
        },
      );
    },
  };
}

/** A path has any characters and any length. */
function leaseName(key: string): string {
  return `storage-events-reconcile-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`;
}
