import { activeStates, type AttemptRef, type Run } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import { traceIdOf, type Logger } from '@sluice/shared/telemetry';
import type { Executor } from '../ports.ts';
import type { Settler } from './settle.ts';

export interface RecoverDeps {
  readonly ledger: RunLedger;
  readonly executor: Executor;
  readonly settler: Settler;
  readonly log: Logger;
  readonly adopt: (run: Run) => void;
}

/**
 * Makes ledger and executor agree: attempts that the ledger believes under way and the executor does not know are lost.
 * At a start that is what a kill left; later it is the audit that finds what slipped through.
 * @param suspects attempts that were missing at the audit before this one; undefined at a start, where all count
 * @returns attempts missing now
 */
export async function reconcileAttempts(
  deps: RecoverDeps,
  suspects: ReadonlySet<string> | undefined,
): Promise<ReadonlySet<string>> {
  const missing = new Set<string>();
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
      const key = keyOf({ run_id: run.id, attempt: run.attempt });
      if (known.has(key)) {
        if (suspects === undefined) deps.adopt(run);
        continue;
      }
      missing.add(key);
      // An attempt may be between its ledger change and its start, or between its end and its report: it is lost
      // only when it was missing twice.
      if (suspects === undefined || suspects.has(key)) await declareLost(deps, run);
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return missing;
}

function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

async function declareLost(deps: RecoverDeps, run: Run): Promise<void> {
  deps.log.warn(
    { run_id: run.id, trace_id: traceIdOf(run.traceparent), service: run.service, attempt: run.attempt },
    'attempt was lost',
  );
  await deps.settler.finish(
    { run_id: run.id, attempt: run.attempt },
    {
      result: 'lost',
      script_started: run.state === 'running',
      outputs: [],
      failure: { code: 'lost', message: 'the server stopped while the attempt was under way' },
    },
  );
}
