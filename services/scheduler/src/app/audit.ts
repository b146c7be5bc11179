import { activeStates, type AttemptOutcome, type AttemptRef, type Run } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Leases, RunLedger } from '@sluice/shared/stores';
import { reachedAt, traceIdOf, type Logger } from '@sluice/shared/telemetry';
import type { Executor } from '../ports.ts';
import type { Outcomes } from './outcomes.ts';
import type { Settler } from './settle.ts';
import type { UnderWay } from './under-way.ts';

export interface AuditDeps {
  readonly ledger: RunLedger;
  readonly executor: Executor;
  readonly settler: Settler;
  readonly underWay: UnderWay;
  readonly leases: Leases;
  /** What supervisors wrote of ended attempts; undefined where they do not. */
  readonly outcomes: Outcomes | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly intervalMs: number;
  /** How long a start may be between its ledger change and its executor, at any replica. */
  readonly startGraceMs: number;
}

/**
 * Makes ledger and executor agree: attempts that the ledger believes under way and the executor does not know are lost.
 */
export interface Audit {
  /** At a start, before anything is dispatched: what a kill left where only this process knows its attempts. */
  first(): Promise<void>;
  /** From time to time: what slipped through. One of all replicas does it. */
  look(): Promise<void>;
}

/** The lease of whoever audits. */
const leaseName = 'scheduler-audit';

export function createAudit(deps: AuditDeps): Audit {
  // Attempts that were missing, since when (monotonic).
  let suspects: ReadonlyMap<string, number> = new Map();
  return {
    first: async () => {
      // Where others may have attempts under way nothing can be said yet.
      if (deps.executor.shared) return;
      await eachMissing(
        deps,
        (run) => declareLost(deps, run),
        (run) => {
          deps.underWay.add(run);
        },
      );
    },
    look: async () => {
      await deps.underWay.sweep(deps.ledger);
      if (!(await deps.leases.hold(leaseName, 3 * deps.intervalMs))) {
        suspects = new Map();
        return;
      }
      const missing = new Map<string, number>();
      await eachMissing(deps, async (run) => {
        const key = keyOf({ run_id: run.id, attempt: run.attempt });
        const since = suspects.get(key) ?? deps.clock.monotonic();
        missing.set(key, since);
        if (isLost(deps, run, since)) await declareLost(deps, run);
      });
      suspects = missing;
    },
  };
}

/**
 * An attempt may be between its ledger change and its start, or between its end and its report: it is lost only when it was missing at two audits, an interval
 * apart, and nobody can be starting it any more.
 */
function isLost(deps: AuditDeps, run: Run, missingSince: number): boolean {
  // The two audits may be measured a little short of the interval.
  if (deps.clock.monotonic() - missingSince < deps.intervalMs * 0.9) return false;
  if (!deps.executor.shared || run.state !== 'starting') return true;
  const since = reachedAt(run, 'starting') ?? 0;
  return deps.clock.now() - since >= deps.startGraceMs;
}

async function eachMissing(
  deps: AuditDeps,
  onMissing: (run: Run) => Promise<void>,
  onKnown: (run: Run) => void = () => undefined,
): Promise<void> {
  let cursor: string | undefined;
  do {
    // Known attempts are asked after the page was read: an attempt that started in between is known by then.
    const page = await deps.ledger.list({
      states: activeStates,
      limit: 500,
      order: 'oldest',
      ...(cursor === undefined ? {} : { cursor }),
    });
    const known = new Set((await deps.executor.attempts()).map(keyOf));
    for (const run of page.items) {
      if (known.has(keyOf({ run_id: run.id, attempt: run.attempt }))) onKnown(run);
      else await onMissing(run);
    }
    cursor = page.next;
  } while (cursor !== undefined);
}

function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

async function declareLost(deps: AuditDeps, run: Run): Promise<void> {
  const ref = { run_id: run.id, attempt: run.attempt };
  const record = await deps.outcomes?.read({ service: run.service, runId: run.id, attempt: run.attempt });
  if (record === undefined) {
    const fields = { ...ref, trace_id: traceIdOf(run.traceparent), service: run.service };
    deps.log.warn(fields, 'attempt was lost');
  }
  await deps.settler.finish(ref, record?.outcome ?? lost(run));
}

function lost(run: Run): AttemptOutcome {
  return {
    result: 'lost',
    script_started: run.state === 'running',
    outputs: [],
    failure: { code: 'lost', message: 'the server stopped while the attempt was under way' },
  };
}
