import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLedger, RunLogs } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { Outcomes } from './outcomes.ts';

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
  const before = await limitsOf(deps);
  const total = { records: 0, claims: 0 };
  for (;;) {
    const done = await deps.ledger.expire({ ...before, limit: batch });
    await deps.logs.remove(done.records.map((record) => ({ service: record.service, runId: record.id })));
    total.records += done.records.length;
    total.claims += done.claims;
    if (done.records.length < batch && done.claims < batch) break;
  }
  const inUse = await deps.ledger.versionsInUse();
  const versions = await deps.definitions.pruneVersions({
    before: deps.clock.now() - deps.marginMs,
    inUse,
  });
  if (total.records + total.claims + versions > 0) deps.log.info({ ...total, versions }, 'retention applied');
  return total;
}

async function limitsOf(deps: RetentionDeps): Promise<{ claimsBefore: number; recordsBefore: number }> {
  const now = deps.clock.now();
  const lowest = await deps.definitions.lowestFloor();
  return {
    claimsBefore: Math.min(now - 2 * deps.marginMs, (lowest ?? now) - deps.marginMs),
    recordsBefore: now - deps.recordsMs,
  };
}

/**
 * Removes what supervisors wrote of runs that nobody claims any more, those of services that are gone among them. For as long as a claim is there its outcome stays: it is
 * what the claim would be restored from.
 */
export async function sweepOutcomes(deps: RetentionDeps, outcomes: Outcomes): Promise<number> {
  const { claimsBefore, recordsBefore } = await limitsOf(deps);
  const before = Math.min(claimsBefore, recordsBefore);
  let removed = 0;
  for await (const page of outcomes.list()) {
    const old = page.filter(({ writtenAt }) => writtenAt < before);
    if (old.length === 0) continue;
    const ids = [...new Set(old.map(({ runId }) => runId))];
    const claimed = new Set<string>();
    for (let at = 0; at < ids.length; at += batch) {
      const some = ids.slice(at, at + batch);
      const known = await deps.ledger.claimed(some);
      for (const [index, id] of some.entries()) if (known[index] === true) claimed.add(id);
    }
    const gone = old.filter(({ runId }) => !claimed.has(runId));
    await outcomes.remove(gone);
    removed += gone.length;
  }
  if (removed > 0) deps.log.info({ outcomes: removed }, 'outcomes past their retention removed');
  return removed;
}
