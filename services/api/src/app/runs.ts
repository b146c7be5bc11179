import type { Bus, Page } from '@sluice/shared/bus';
import { idempotentRunId, isFinal, runName, type Run } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { DefinitionStore, RunLedger, RunQuery } from '@sluice/shared/stores';
import { startAcceptSpan, type Tracer } from '@sluice/shared/telemetry';
import { can, nameOf, type Action, type Principal } from '../domain/policy.ts';
import type { Random } from '../ports.ts';
import { cancelRun } from './cancel-run.ts';

export interface RunsContext {
  readonly ledger: RunLedger;
  readonly bus: Pick<Bus, 'publish'>;
  readonly definitions: Pick<DefinitionStore, 'get'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly tracer: Tracer;
}

/** Runs as a resource; every call asks the policy for the run's own service. */
export interface Runs {
  list(principal: Principal, query: RunQuery): Promise<Page<Run>>;
  /** @throws AppError `not_found` */
  get(principal: Principal, id: string, action?: Action): Promise<Run>;
  /** @throws AppError `not_found`, `conflict` for a run that has ended */
  cancel(principal: Principal, id: string): Promise<Run>;
  /** @throws AppError `not_found`, `conflict` for a run that has not ended or whose service is gone */
  retry(principal: Principal, id: string, options: RetryOptions): Promise<Run>;
}

export interface RetryOptions {
  /** Makes a repeated call one retry. */
  readonly idempotencyKey?: string | undefined;
  readonly traceparent?: string | undefined;
}

export function createRuns(context: RunsContext): Runs {
  const get: Runs['get'] = async (principal, id, action = 'runs.read') => {
    const run = await context.ledger.get(id);
    // A run that the caller may not see is no run to it.
    if (run === undefined || !can(principal, action, { serviceUid: run.service_uid })) throw noRun(id);
    return run;
  };
  return {
    get,
    list: async (principal, query) => {
      if (principal.kind !== 'service') return context.ledger.list(query);
      if (query.service !== undefined && query.service !== principal.service) return { items: [] };
      return context.ledger.list({ ...query, serviceUid: principal.uid });
    },
    cancel: async (principal, id) => {
      const run = await get(principal, id, 'runs.cancel');
      if (isFinal(run.state)) throw ended(run);
      const after = await cancelRun(run, `cancelled by ${nameOf(principal)}`, context);
      if (after === undefined) throw noRun(id);
      if (isFinal(after.state) && after.state !== 'cancelled') throw ended(after);
      return after;
    },
    retry: (principal, id, options) =>
      retryRun(principal, () => get(principal, id, 'runs.retry'), options, context),
  };
}

/** A new run of the same input and event, by the service as it is now. */
async function retryRun(
  principal: Principal,
  find: () => Promise<Run>,
  options: RetryOptions,
  context: RunsContext,
): Promise<Run> {
  const old = await find();
  if (!isFinal(old.state)) {
    throw new AppError('conflict', `The run is ${old.state}: only a run that has ended can be tried again.`);
  }
  const service = await context.definitions.get(old.service);
  if (service === undefined) {
    throw new AppError('conflict', `The service "${old.service}" of this run does not exist any more.`);
  }
  const { idempotencyKey: key } = options;
  const id =
    key === undefined
      ? runName(service.name, context.random.uuid())
      : idempotentRunId(service.name, service.uid, `retry:${old.id}:${key}`);
  const about = { id, service: service.name, source: 'retry', bucket: old.input?.bucket } as const;
  const span = startAcceptSpan(context.tracer, about, options.traceparent);
  const [claim] = await context.ledger.claim([
    {
      id,
      service: service.name,
      service_uid: service.uid,
      source: 'retry',
      ...(old.input === undefined ? {} : { input: old.input }),
      event: old.event,
      user: nameOf(principal),
      traceparent: span.traceparent,
      hop: old.hop,
      retry_of: old.id,
    },
  ]);
  if (claim?.created === true) span.end();
  const run = await context.ledger.get(id);
  if (run === undefined) throw noRun(id);
  return run;
}

function noRun(id: string): AppError {
  return new AppError('not_found', `There is no run "${id}".`);
}

function ended(run: Run): AppError {
  return new AppError(
    'conflict',
    `The run has ended already: it ${run.state === 'failed' ? 'failed' : `was ${run.state}`}.`,
  );
}
