import type { Bus, Page } from '@sluice/shared/bus';
import { finalStates, isFinal, type Run, type RunState } from '@sluice/shared/contracts';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { DefinitionStore, RunLedger, RunLogs } from '@sluice/shared/stores';
import type { Random } from '../ports.ts';
import { cancelRun } from './cancel-run.ts';

export interface JobsContext {
  readonly definitions: Pick<DefinitionStore, 'get'>;
  readonly ledger: Pick<RunLedger, 'list' | 'get' | 'remove' | 'requestCancel'>;
  readonly logs: Pick<RunLogs, 'remove'>;
  readonly bus: Pick<Bus, 'publish'>;
  readonly random: Pick<Random, 'uuid'>;
}

/** Runs as OSCAR's log routes see them (OSCAR §1.8): those of the service that has the name now. */
export interface Jobs {
  /** @throws AppError `invalid_input` for a page that was not given out */
  list(service: string, query: { limit: number; page?: string }): Promise<Page<Run> | undefined>;
  /** Undefined where there is no such run of that service. */
  get(service: string, id: string): Promise<Run | undefined>;
  /** Removes the records and logs of succeeded runs; with `all` of every run that has ended, and cancels the others. False: no such service. */
  removeMany(service: string, all: boolean): Promise<boolean>;
  /** Removes a run that has ended, cancels another. False: no such run of that service. */
  remove(service: string, id: string): Promise<boolean>;
}

const pageSize = 500;
/** Cancel requests on their way at the same time: the ledger commits them together. */
const width = 50;

export function createJobs(context: JobsContext): Jobs {
  const find = async (service: string, id: string): Promise<Run | undefined> => {
    const run = await context.ledger.get(id);
    return run?.service === service ? run : undefined;
  };
  const drop = async (runs: readonly Run[]): Promise<void> => {
    if (runs.length === 0) return;
    // Logs first: a log without a record would never be found again.
    await context.logs.remove(runs.map(({ id, service }) => ({ service, runId: id })));
    await context.ledger.remove(runs.map(({ id }) => id));
  };
  const cancel = async (run: Run): Promise<void> => {
    await cancelRun(run, 'deleted through /system/logs', context);
  };
  return {
    list: async (service, { limit, page }) => {
      const stored = await context.definitions.get(service);
      if (stored === undefined) return undefined;
      const query = { serviceUid: stored.uid, limit, ...(page === undefined ? {} : { cursor: page }) };
      return context.ledger.list(query).catch((error: unknown) => {
        throw isAppError(error, 'invalid_input') && error.field === 'cursor' ? unknownPage(error) : error;
      });
    },
    get: find,
    removeMany: async (service, all) => {
      const stored = await context.definitions.get(service);
      if (stored === undefined) return false;
      const of = (states: readonly RunState[]) => pagesOf(context.ledger, stored.uid, states);
      if (all) {
        for await (const runs of of(['queued', 'starting', 'running'])) await inGroups(runs, cancel);
      }
      for await (const runs of of(all ? finalStates : ['succeeded'])) await drop(runs);
      return true;
    },
    remove: async (service, id) => {
      const run = await find(service, id);
      if (run === undefined) return false;
      if (isFinal(run.state)) await drop([run]);
      else await cancel(run);
      return true;
    },
  };
}

/** OSCAR calls a cursor a page. */
function unknownPage(cause: AppError): AppError {
  return new AppError('invalid_input', 'The page is not one that a listing gave out.', {
    field: 'page',
    cause,
  });
}

/** Newest first, so that what is accepted meanwhile does not keep the loop going. */
async function* pagesOf(
  ledger: Pick<RunLedger, 'list'>,
  serviceUid: string,
  states: readonly RunState[],
): AsyncGenerator<readonly Run[]> {
  let cursor: string | undefined;
  do {
    const page = await ledger.list({
      serviceUid,
      states,
      limit: pageSize,
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield page.items;
    cursor = page.next;
  } while (cursor !== undefined);
}

async function inGroups(runs: readonly Run[], act: (run: Run) => Promise<void>): Promise<void> {
  for (let at = 0; at < runs.length; at += width) {
    await Promise.all(runs.slice(at, at + width).map((run) => act(run)));
  }
}
