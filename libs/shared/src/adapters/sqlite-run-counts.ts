import { activeStates, runStates, type RunState } from '../contracts/index.ts';
import type { Database } from './sqlite-database.ts';
import { stateNumber } from './run-record.ts';
import type { Stage, Transaction } from './sqlite-transaction.ts';

/** How many runs there are, by service and state: counted as they change, since counting a million rows takes a second. */
export interface RunCounts {
  /** A run of the service left one state (undefined: it is new) for another (undefined: its record is gone). */
  move(transaction: Transaction, service: string, from: RunState | undefined, to: RunState | undefined): void;
  /** Runs that are starting or running, those of the transaction included; of one service, or of all. */
  active(transaction: Transaction, service?: string): number;
  /** Of one service, or of all. */
  of(service: string | undefined): Readonly<Record<RunState, number>>;
}

/** The row of all services together. */
const allServices = '';
const active = activeStates.map(stateNumber);

interface Moves {
  readonly all: number[];
  readonly byService: Map<string, number[]>;
}

export function createRunCounts(db: Database): RunCounts {
  const select = db.prepare<{ state: number; n: number }>(
    'SELECT state, n FROM run_counts WHERE service = ?',
  );
  const add = db.prepare(
    'INSERT INTO run_counts (service, state, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n',
  );
  // Services that are gone leave zeros behind.
  db.writeNow(() => db.prepare('DELETE FROM run_counts WHERE n = 0').run());
  const stored = (service: string): number[] => {
    const counts = zeros();
    for (const { state, n } of select.all(service)) counts[state] = n;
    return counts;
  };
  const committed = db.read(() => stored(allServices));

  const write = (service: string, moves: readonly number[]): void => {
    for (const [state, n] of moves.entries()) if (n !== 0) add.run(service, state, n);
  };
  // Written once a transaction, however many runs it moved.
  const stage: Stage<Moves> = {
    start: () => ({ all: zeros(), byService: new Map() }),
    beforeCommit: ({ all, byService }) => {
      write(allServices, all);
      for (const [service, moves] of byService) write(service, moves);
    },
    afterCommit: ({ all }) => {
      for (const [state, n] of all.entries()) bump(committed, state, n);
    },
  };
  return {
    move: (transaction, service, from, to) => {
      const { all, byService } = transaction.stage(stage);
      const mine = byService.get(service) ?? zeros();
      byService.set(service, mine);
      for (const moves of [all, mine]) {
        if (from !== undefined) bump(moves, stateNumber(from), -1);
        if (to !== undefined) bump(moves, stateNumber(to), 1);
      }
    },
    active: (transaction, service) => {
      const { all, byService } = transaction.stage(stage);
      const before = service === undefined ? committed : stored(service);
      const moves = service === undefined ? all : (byService.get(service) ?? zeros());
      return active.reduce((sum, state) => sum + (before[state] ?? 0) + (moves[state] ?? 0), 0);
    },
    of: (service) => {
      const found = db.read(() => stored(service ?? allServices));
      const entries = runStates.map((state, number) => [state, found[number] ?? 0] as const);
      return Object.fromEntries(entries) as Record<RunState, number>;
    },
  };
}

function zeros(): number[] {
  return runStates.map(() => 0);
}

function bump(counts: number[], state: number, by: number): void {
  counts[state] = (counts[state] ?? 0) + by;
}
