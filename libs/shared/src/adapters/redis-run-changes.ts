import { isFinal, type Run } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { RunLedger, Transition, TransitionResult } from '../stores/index.ts';
import { texts } from './redis-run-calls.ts';
import type { RedisLedgerParts } from './redis-run-ledger.ts';
import { entriesFrom, said, type SaidMessage } from './redis-run-outbox.ts';
import { recordOf, type StoredRun, storedRun, versionInUse } from './redis-run-record.ts';
import { getScript } from './redis-run-read-scripts.ts';
import { changeScript } from './redis-run-scripts.ts';
import { changed, noted, refusalOf, stateNumber } from './run-record.ts';

interface Change {
  readonly run: Run;
  readonly messages: readonly SaidMessage[];
  readonly slots?: number | undefined;
  readonly serviceSlots?: number | undefined;
}

type Outcome =
  { readonly kind: 'absent' } | { readonly kind: 'kept' | 'changed' | 'no_slot'; readonly run: Run };

/** Times that a change is made anew because another one was quicker. */
const maxTurns = 200;

export async function findRun({ call }: RedisLedgerParts, id: string): Promise<StoredRun | undefined> {
  const [seq, record, facts] = texts(await call(getScript, [id]));
  if (seq === undefined || record === undefined || facts === undefined) return undefined;
  return storedRun(seq, record, facts);
}

/**
 * A change is made here, of the run as it was read, and stored in one step on condition that it still is as it was: so what a change means is
 * written once, for all ledgers.
 */
export function createRedisRunChanges(
  ledger: RedisLedgerParts,
): Pick<RunLedger, 'transition' | 'requestCancel' | 'note'> {
  const { clock } = ledger;
  return {
    transition: async (change) => transition(ledger, change),
    requestCancel: async (id, message) => {
      const outcome = await apply(ledger, id, (run) => {
        if (isFinal(run.state) || run.cancel_requested_at !== undefined) return undefined;
        const at = clock.now();
        const entry = { at, attempt: run.attempt, state: run.state, message };
        return { run: noted({ ...run, cancel_requested_at: at }, entry), messages: [] };
      });
      return outcome.kind === 'absent' ? undefined : outcome.run;
    },
    note: async (id, attempt, message) => {
      await apply(ledger, id, (run) => ({
        run: noted(run, { at: clock.now(), attempt, state: run.state, message }),
        messages: [],
      }));
    },
  };
}

async function transition(ledger: RedisLedgerParts, change: Transition): Promise<TransitionResult> {
  const { clock, eventsFor, carry } = ledger;
  let refusal: 'state' | 'attempt' | undefined;
  const outcome = await apply(ledger, change.id, (before) => {
    refusal = refusalOf(before, change);
    if (refusal !== undefined) return undefined;
    const run = changed(before, change, clock.now());
    const extra = (change.publish ?? []).map((message) => carry(message, run));
    const messages = said([...eventsFor(run), ...extra]);
    const { slots, serviceSlots } = change;
    return change.to === 'starting' ? { run, messages, slots, serviceSlots } : { run, messages };
  });
  if (outcome.kind === 'absent') return { applied: false, reason: 'not_found' };
  if (outcome.kind === 'changed') return { applied: true, run: outcome.run };
  const reason = outcome.kind === 'no_slot' ? outcome.kind : (refusal ?? 'state');
  return { applied: false, reason, run: outcome.run };
}

/** @param decide the run as it is to be; undefined to leave it as it is */
async function apply(
  ledger: RedisLedgerParts,
  id: string,
  decide: (run: Run) => Change | undefined,
): Promise<Outcome> {
  let found = await findRun(ledger, id);
  for (let turn = 0; turn < maxTurns; turn += 1) {
    if (found === undefined) return { kind: 'absent' };
    const change = decide(found.run);
    if (change === undefined) return { kind: 'kept', run: found.run };
    const reply = await ledger.call(changeScript, changeArgs(found, change, ledger.clock.now()));
    if (reply === 'no_slot') return { kind: 'no_slot', run: found.run };
    if (typeof reply === 'number') {
      ledger.outbox.storedUnawaited(entriesFrom(reply, change.messages));
      return { kind: 'changed', run: change.run };
    }
    found = reply === 'gone' ? await findRun(ledger, id) : changedMeanwhile(found.seq, reply);
  }
  throw new AppError('unavailable', 'The run is being changed by too many at the same time; try again.', {
    retryAfterSeconds: 1,
    details: { run: id },
  });
}

function changedMeanwhile(seq: string, reply: unknown): StoredRun {
  const [record = '', facts = ''] = texts(reply);
  return storedRun(seq, record, facts);
}

function changeArgs(
  { seq, revision, run: before }: StoredRun,
  change: Change,
  at: number,
): (string | number)[] {
  const { run } = change;
  const active = before.state === 'starting' || before.state === 'running';
  const ended = isFinal(run.state) && run.finished_at !== undefined;
  return [
    seq,
    revision,
    recordOf(run, revision + 1),
    stateNumber(before.state),
    stateNumber(run.state),
    before.service,
    before.service_uid,
    ended ? Math.floor(run.finished_at ?? 0) : '',
    versionInUse(before),
    versionInUse(run),
    change.slots ?? '',
    change.serviceSlots ?? '',
    // A run that occupies one already does not need another.
    active ? 1 : 0,
    at,
    ...change.messages.map(({ text }) => text),
  ];
}
