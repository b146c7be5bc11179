import { activeStates, type Run } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLedger } from '@sluice/shared/stores';
import { isOver } from '../domain/under-way.ts';

/** Attempts that this process started or adopted, until it knows that they are over. */
export interface UnderWay {
  add(run: Pick<Run, 'id' | 'attempt'>): void;
  /** The run as it is now, or as an event said: forgets its attempt if that is over. */
  note(run: Pick<Run, 'id' | 'attempt' | 'state'>): void;
  has(run: Pick<Run, 'id' | 'attempt'>): boolean;
  size(): number;
  /** Looks up in the ledger what has been here for a while: an event may have been missed, and nothing stays for ever. */
  sweep(ledger: Pick<RunLedger, 'get'>): Promise<void>;
}

interface Entry {
  readonly attempt: number;
  /** Monotonic. */
  readonly since: number;
}

const parallelReads = 16;

/** @param settledMs milliseconds after which an attempt is looked up in the ledger */
export function createUnderWay(clock: Clock, settledMs: number): UnderWay {
  const entries = new Map<string, Entry>();
  const note = (run: Pick<Run, 'id' | 'attempt' | 'state'>): void => {
    const entry = entries.get(run.id);
    if (entry !== undefined && isOver(entry.attempt, run)) entries.delete(run.id);
  };
  const check = async (id: string, entry: Entry, ledger: Pick<RunLedger, 'get'>): Promise<void> => {
    const run = await ledger.get(id);
    if (entries.get(id) !== entry) return;
    const here = run?.attempt === entry.attempt && (activeStates as readonly string[]).includes(run.state);
    if (!here) entries.delete(id);
  };
  return {
    add: (run) => {
      entries.set(run.id, { attempt: run.attempt, since: clock.monotonic() });
    },
    note,
    has: (run) => entries.get(run.id)?.attempt === run.attempt,
    size: () => entries.size,
    sweep: async (ledger) => {
      const before = clock.monotonic() - settledMs;
      const old = [...entries].filter(([, entry]) => entry.since <= before);
      for (let at = 0; at < old.length; at += parallelReads) {
        const some = old.slice(at, at + parallelReads);
        await Promise.all(some.map(([id, entry]) => check(id, entry, ledger)));
      }
    },
  };
}
