import { runName, type Run, type RunState } from '../contracts/index.ts';
import type { NewRun, RunLedger, TransitionResult } from '../stores/index.ts';

/** A ledger of its own for each test. Its outbox gets `runStartMessage` and `runChangedMessage` of each run. */
export interface RunLedgerHarness {
  readonly ledger: RunLedger;
  /** Ends the ledger as a crash would and opens it again. */
  restart(): Promise<RunLedger>;
  close(): Promise<void>;
}

export type MakeRunLedger = () => Promise<RunLedgerHarness>;

/** A run to claim; `id` is made up unless given. */
export function newRun(changes: Partial<NewRun> = {}): NewRun {
  const service = changes.service ?? 'thumbnail';
  return {
    id: runName(service, crypto.randomUUID()),
    service,
    service_uid: `uid-of-${service}`,
    source: 'notification',
    input: {
      bucket: 'thumbnail',
      key: 'in/photo.jpg',
      size: 48_211,
      etag: 'e1',
      identity: 'i1',
      last_modified: 1_767_323_045_678,
    },
    event: { kind: 'inline', encoding: 'utf8', data: '{"Records":[]}' },
    traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
    hop: 0,
    ...changes,
  };
}

/** Claims one new run. */
export async function claimOne(ledger: RunLedger, changes: Partial<NewRun> = {}): Promise<Run> {
  const run = newRun(changes);
  await ledger.claim([run]);
  const claimed = await ledger.get(run.id);
  if (claimed === undefined) throw new Error(`${run.id} is not there`);
  return claimed;
}

/** Moves a run along these states, from where it is. */
export async function moveTo(ledger: RunLedger, id: string, ...states: readonly RunState[]): Promise<Run> {
  let result: TransitionResult | undefined;
  for (const to of states) {
    result = await ledger.transition({ id, from: ['queued', 'starting', 'running'], to });
    if (!result.applied) throw new Error(`${id} did not become ${to}: ${result.reason}`);
  }
  if (result?.applied !== true) throw new Error('no states');
  return result.run;
}
