import type { OutgoingMessage } from '../bus/index.ts';
import { isFinal, type Run } from '../contracts/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { ClaimResult, NewRun, RunLedger, Transition, TransitionResult } from '../stores/index.ts';
import type { Database } from './sqlite-database.ts';
import { createRunCounts, type RunCounts } from './sqlite-run-counts.ts';
import { createRunList } from './sqlite-run-list.ts';
import { createRunOutbox, type RunOutbox } from './sqlite-run-outbox.ts';
import { acceptedRun, changed, checkBatch, noted, refusalOf, runOf } from './run-record.ts';
import { createRunRetention } from './sqlite-run-retention.ts';
import { createRunTables, type FoundRun, type RunTables } from './sqlite-run-tables.ts';
import type { Transaction } from './sqlite-transaction.ts';

export interface SqliteRunLedgerOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** The events that say a run reached its present state; stored in the outbox with each claim and change. */
  readonly eventsFor: (run: Run) => readonly OutgoingMessage[];
  /** The command that starts a run's first attempt; stored in the outbox with its claim. */
  readonly startMessage: (run: Run) => OutgoingMessage;
  /** Messages that may wait in the outbox before claims are refused. @default 1000000 */
  readonly maxOutbox?: number;
}

interface Parts extends SqliteRunLedgerOptions {
  readonly tables: RunTables;
  readonly counts: RunCounts;
  readonly outbox: RunOutbox;
}

/**
 * The embedded run ledger. An id counts as claimed for as long as its claim or its record is there.
 * @throws AppError `conflict` when the database has a run ledger already
 */
export function createSqliteRunLedger(options: SqliteRunLedgerOptions): RunLedger {
  const { db } = options;
  db.occupy('run ledger');
  const tables = createRunTables(db);
  const counts = createRunCounts(db);
  const outbox = createRunOutbox(db, options.maxOutbox ?? 1_000_000);
  const parts: Parts = { ...options, tables, counts, outbox };
  return {
    claim: async (runs) => {
      checkBatch(runs);
      return db.write((transaction) => claim(transaction, runs, parts));
    },
    claimed: async (ids) => {
      checkBatch(ids);
      return db.read(() => ids.map((id) => tables.isClaimed(id)));
    },
    get: async (id) => {
      const found = db.read(() => tables.find(id));
      return found === undefined ? undefined : runOf(found);
    },
    transition: async (change) => db.write((transaction) => transition(transaction, change, parts)),
    requestCancel: async (id, message) => db.write(() => requestCancel(id, message, parts)),
    note: async (id, attempt, message) => {
      await db.write(() => {
        const found = tables.find(id);
        if (found === undefined) return;
        const run = runOf(found);
        tables.setCourse(
          found.seq,
          noted(run, { at: options.clock.now(), attempt, state: run.state, message }),
        );
      });
    },
    list: createRunList(db, tables.bySeq),
    counts: async (service) => counts.of(service),
    versionsInUse: async () => db.read(() => tables.versionsInUse()),
    ...createRunRetention(db, tables, counts),
    readOutbox: outbox.readOutbox,
    removeFromOutbox: outbox.removeFromOutbox,
    onOutbox: outbox.onOutbox,
    check: async () => db.check(),
  };
}

function claim(transaction: Transaction, runs: readonly NewRun[], parts: Parts): readonly ClaimResult[] {
  const { tables, counts, outbox } = parts;
  const at = parts.clock.now();
  outbox.checkRoom(transaction, 2 * runs.length);
  return runs.map((input) => {
    const run = acceptedRun(input, at);
    if (!tables.insert(transaction, run)) return { id: run.id, created: false };
    counts.move(transaction, run.service, undefined, 'queued');
    outbox.add(transaction, [parts.startMessage(run), ...parts.eventsFor(run)]);
    return { id: run.id, created: true };
  });
}

function transition(transaction: Transaction, change: Transition, parts: Parts): TransitionResult {
  const { tables, counts, outbox } = parts;
  const found = tables.find(change.id);
  if (found === undefined) return { applied: false, reason: 'not_found' };
  const before = runOf(found);
  const refusal = refusalOf(before, change);
  if (refusal !== undefined) return { applied: false, reason: refusal, run: before };
  if (!hasSlot(transaction, before, change, counts))
    return { applied: false, reason: 'no_slot', run: before };
  const run = changed(before, change, parts.clock.now());
  tables.update(found.seq, run);
  counts.move(transaction, run.service, before.state, run.state);
  outbox.add(transaction, [...parts.eventsFor(run), ...(change.publish ?? [])]);
  return { applied: true, run };
}

function hasSlot(transaction: Transaction, run: Run, change: Transition, counts: RunCounts): boolean {
  const { to, slots, serviceSlots } = change;
  if (to !== 'starting') return true;
  // A run that occupies one already does not need another.
  const own = run.state === 'starting' || run.state === 'running' ? 1 : 0;
  if (slots !== undefined && counts.active(transaction) - own >= slots) return false;
  return serviceSlots === undefined || counts.active(transaction, run.service) - own < serviceSlots;
}

function requestCancel(id: string, message: string, { tables, clock }: Parts): Run | undefined {
  const found: FoundRun | undefined = tables.find(id);
  if (found === undefined) return undefined;
  const run = runOf(found);
  if (isFinal(run.state) || run.cancel_requested_at !== undefined) return run;
  const at = clock.now();
  const asked = noted(
    { ...run, cancel_requested_at: at },
    { at, attempt: run.attempt, state: run.state, message },
  );
  tables.setCourse(found.seq, asked);
  return asked;
}
