import { activeStates, type RunCancel } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { Executor } from '../ports.ts';
import type { OutcomeKeeper } from './outcomes.ts';

export interface CancelDeps {
  readonly ledger: RunLedger;
  readonly executor: Executor;
  readonly log: Logger;
  readonly keeper: Pick<OutcomeKeeper, 'keep'>;
}

/** Ends a run: at once while it waits, through its executor while it is under way, not at all when it has ended. */
export async function cancelRun(
  deps: CancelDeps,
  request: Pick<RunCancel, 'run_id' | 'reason'>,
): Promise<void> {
  await deps.ledger.requestCancel(request.run_id, request.reason);
  const waiting = await deps.ledger.transition({
    id: request.run_id,
    from: ['queued'],
    to: 'cancelled',
    message: request.reason,
  });
  if (waiting.applied) {
    const failure = { code: 'cancelled', message: request.reason };
    deps.keeper.keep(waiting.run, { result: 'cancelled', script_started: false, outputs: [], failure });
    return;
  }
  if (waiting.run === undefined) return;
  if (!(activeStates as readonly string[]).includes(waiting.run.state)) return;
  await deps.executor.cancel({ run_id: request.run_id, attempt: waiting.run.attempt }, request.reason);
}

/** Cancels what a removed service left waiting or running, page by page. */
export async function cancelRunsOf(deps: CancelDeps, serviceUid: string): Promise<number> {
  let cancelled = 0;
  for (;;) {
    const page = await deps.ledger.list({
      serviceUid,
      states: ['queued', 'starting', 'running'],
      limit: 500,
      order: 'oldest',
    });
    // Runs under way end a little later; those that have been asked already need no second request.
    const open = page.items.filter((run) => run.cancel_requested_at === undefined);
    if (open.length === 0) break;
    await Promise.all(
      open.map((run) => cancelRun(deps, { run_id: run.id, reason: 'the service was deleted' })),
    );
    cancelled += open.length;
  }
  if (cancelled > 0)
    deps.log.info({ service_uid: serviceUid, runs: cancelled }, 'runs of a removed service cancelled');
  return cancelled;
}
