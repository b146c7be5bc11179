import type { Bus, WorkQueue } from '@sluice/shared/bus';
import { carryingStartMessage, isFinal, RunStart, type Run } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, LedgerRecovery, Leases } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';
import { restoredRun, waitingRun } from '../domain/restore.ts';
import type { Executor } from '../ports.ts';
import type { FoundOutcome, Outcomes } from './outcomes.ts';

export interface RebuildDeps {
  readonly recovery: LedgerRecovery;
  readonly executor: Executor;
  readonly queue: WorkQueue;
  readonly bus: Pick<Bus, 'publish'>;
  readonly outcomes: Outcomes | undefined;
  readonly definitions: DefinitionStore;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds that records of finished runs are kept. */
  readonly recordsMs: number;
}

/** What was found where, for the log. */
interface Tally {
  attempts: number;
  waiting: number;
  outcomes: number;
  claims: number;
}

const leaseName = 'scheduler-rebuild';
/** Renewed with every batch; after it another replica begins anew. */
const leaseMs = 60_000;
const batch = 500;
const parallelReads = 16;

/**
 * Fills a ledger that lost its memory: attempts under way from the executor, waiting ones from their start messages, ended ones from what their supervisors wrote. Each
 * may be done twice or by two at once: what is there already is left alone. Until it is done the ledger refuses everything, so that nothing is claimed twice.
 * @returns whether the ledger can be worked with
 */
export async function rebuildLedger(deps: RebuildDeps): Promise<boolean> {
  if (await deps.recovery.isIntact()) return true;
  if (!(await deps.leases.hold(leaseName, leaseMs))) return false;
  const started = deps.clock.monotonic();
  const tally: Tally = { attempts: 0, waiting: 0, outcomes: 0, claims: 0 };
  deps.log.warn({}, 'the ledger is empty or new: it is restored before anything else is done');
  try {
    // In this order: of one run the attempt under way is newer than a message, and that newer than an outcome.
    await restoreCarried(deps, tally);
    await restoreWaiting(deps, tally);
    await restoreEnded(deps, tally);
    await deps.recovery.markIntact();
  } finally {
    await deps.leases.release(leaseName);
  }
  deps.log.info({ ...tally, took_ms: Math.round(deps.clock.monotonic() - started) }, 'ledger restored');
  return true;
}

async function restore(deps: RebuildDeps, runs: readonly Run[]): Promise<void> {
  // Whoever holds it now works on the same, and does it whole.
  if (!(await deps.leases.hold(leaseName, leaseMs)))
    throw new AppError('unavailable', 'Another replica restores the ledger.');
  if (runs.length > 0) await deps.recovery.restore(runs);
}

async function restoreCarried(deps: RebuildDeps, tally: Tally): Promise<void> {
  for await (const runs of batches(deps.executor.carriedRuns?.() ?? [])) {
    await restore(deps, runs);
    tally.attempts += runs.length;
  }
}

async function restoreWaiting(deps: RebuildDeps, tally: Tally): Promise<void> {
  const contract = Compile(RunStart);
  for await (const messages of batches(deps.queue.pending?.() ?? [])) {
    const starts = messages.flatMap(({ payload }) => (contract.Check(payload) ? [payload] : []));
    const runs = await inParallel(starts, async ({ run, attempt }) => {
      if (run === undefined) return undefined;
      // Its acknowledgement was lost: the attempt has been and gone.
      const ref = { service: run.service, runId: run.id, attempt };
      return (await deps.outcomes?.has(ref)) === true ? undefined : waitingRun(run, attempt);
    });
    await restore(deps, runs);
    tally.waiting += runs.length;
  }
}

async function restoreEnded(deps: RebuildDeps, tally: Tally): Promise<void> {
  const { outcomes } = deps;
  if (outcomes === undefined) return;
  for await (const service of servicesOf(deps.definitions)) {
    for await (const page of outcomes.list(service)) await restorePage(deps, outcomes, page, tally);
  }
}

async function* servicesOf(definitions: DefinitionStore): AsyncGenerator<string> {
  let cursor: string | undefined;
  do {
    const page = await definitions.list({ limit: batch, ...(cursor === undefined ? {} : { cursor }) });
    for (const { name } of page.items) yield name;
    cursor = page.next;
  } while (cursor !== undefined);
}

async function restorePage(
  deps: RebuildDeps,
  outcomes: Outcomes,
  page: readonly FoundOutcome[],
  tally: Tally,
): Promise<void> {
  const newest = newestOf(page);
  const recordsAfter = deps.clock.now() - deps.recordsMs;
  const young = newest.filter(({ writtenAt }) => writtenAt > recordsAfter);
  const runs = await inParallel(young, (found) => readRun(deps, outcomes, found));
  await restore(deps, runs);
  const claims = newest.map(({ runId, writtenAt }) => ({ id: runId, claimedAt: writtenAt }));
  await deps.recovery.restoreClaims(claims);
  // The message of the next attempt waited in the ledger's own outbox, perhaps. It is the same one if it did not.
  const waiting = runs.filter(({ state }) => !isFinal(state));
  if (waiting.length > 0) await deps.bus.publish(waiting.map((run) => carryingStartMessage(run)));
  tally.outcomes += runs.length;
  tally.claims += claims.length;
}

function newestOf(page: readonly FoundOutcome[]): readonly FoundOutcome[] {
  const byRun = new Map<string, FoundOutcome>();
  for (const found of page) {
    const other = byRun.get(found.runId);
    if (other === undefined || other.attempt < found.attempt) byRun.set(found.runId, found);
  }
  return [...byRun.values()];
}

async function readRun(deps: RebuildDeps, outcomes: Outcomes, found: FoundOutcome): Promise<Run | undefined> {
  const record = await outcomes.read(found);
  // Of another run than its key says: nobody's supervisor wrote that.
  if (record?.run?.id !== found.runId || record.run.service !== found.service) return undefined;
  const stored = await deps.definitions.getVersion(record.run.service_uid, record.run.service_version ?? 0);
  const run = { ...record.run, attempt: found.attempt };
  return restoredRun(record, run, stored?.definition.sluice ?? {});
}

async function* batches<T>(items: AsyncIterable<T> | Iterable<T>): AsyncGenerator<readonly T[]> {
  let some: T[] = [];
  for await (const item of items) {
    some.push(item);
    if (some.length < batch) continue;
    yield some;
    some = [];
  }
  if (some.length > 0) yield some;
}

async function inParallel<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R | undefined>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += parallelReads) {
    const some = await Promise.all(items.slice(at, at + parallelReads).map(work));
    for (const result of some) if (result !== undefined) results.push(result);
  }
  return results;
}
