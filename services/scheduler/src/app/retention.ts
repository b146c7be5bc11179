import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLedger, RunLogs } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';

export interface RetentionDeps {
  readonly ledger: RunLedger;
  readonly definitions: DefinitionStore;
  readonly logs: RunLogs;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that records and logs of finished runs are kept. */
  readonly recordsMs: number;
  /** The reconciler's margin in milliseconds; claims live at least twice as long. */
  readonly marginMs: number;
}

const batch = 500;

/**
 * Removes what is past its retention: run records with their logs, claims, superseded versions of definitions.
 * A claim goes only once its object is certain to lie below the floor of its prefix, so that no listing can start it again.
 */
export async function applyRetention(deps: RetentionDeps): Promise<{ records: number; claims: number }> {
  const now = deps.clock.now();
  const lowest = await deps.definitions.lowestFloor();
  const claimsBefore = Math.min(now - 2 * deps.marginMs, (lowest ?? now) - deps.marginMs);
  const total = { records: 0, claims: 0 };
  for (;;) {
    const done = await deps.ledger.expire({
      claimsBefore,
      recordsBefore: now - deps.recordsMs,
      limit: batch,
    });
    await deps.logs.remove(done.records.map((record) => ({ service: record.service, runId: record.id })));
    total.records += done.records.length;
    total.claims += done.claims;
    if (done.records.length < batch && done.claims < batch) break;
  }
  const inUse = await deps.ledger.versionsInUse();
  const versions = await deps.definitions.pruneVersions({ before: now - deps.marginMs, inUse });
  if (total.records + total.claims + versions > 0) deps.log.info({ ...total, versions }, 'retention applied');
  return total;
}
