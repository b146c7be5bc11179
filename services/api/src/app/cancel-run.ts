import type { Bus } from '@sluice/shared/bus';
import type { Run } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import type { Random } from '../ports.ts';

export interface CancelContext {
  readonly ledger: Pick<RunLedger, 'requestCancel'>;
  readonly bus: Pick<Bus, 'publish'>;
  readonly random: Pick<Random, 'uuid'>;
}

/**
 * Notes the wish to cancel a run, then tells the scheduler. The wish is durable first, so a command that is lost is made good
 * by the scheduler's own look at the ledger.
 * @returns the run as it is afterwards; undefined where it is gone
 */
export async function cancelRun(
  run: Pick<Run, 'id' | 'service' | 'traceparent'>,
  reason: string,
  context: CancelContext,
): Promise<Run | undefined> {
  const after = await context.ledger.requestCancel(run.id, reason);
  if (after === undefined) return undefined;
  await context.bus.publish([
    {
      // Anew each time: a repeated request may be the answer to a command that went astray; handling it twice is harmless.
      id: `${run.id}.cancel.${context.random.uuid()}`,
      name: 'runs.cancel',
      key: run.service,
      payload: { run_id: run.id, service: run.service, reason },
      traceparent: run.traceparent,
    },
  ]);
  return after;
}
