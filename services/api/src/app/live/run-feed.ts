import type { Bus } from '@sluice/shared/bus';
import { isFinal, runChangedNames, type RunChanged, type RunState } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { dropAbsent, wireTime } from '../../domain/run-wire.ts';
import type { Random } from '../../ports.ts';
import { createBell, type Bell } from './bell.ts';

/** A change of a run's state, as the streams say it. */
export interface RunEvent {
  readonly seq: number;
  readonly runId: string;
  readonly service: string;
  readonly serviceUid: string;
  readonly state: RunState;
  readonly attempt: number;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly final: boolean;
  /** JSON. */
  readonly data: string;
}

/** The latest changes of runs' states that the bus has told this process of, in the order in which they came. */
export interface RunFeed {
  /** Begins to listen to the bus, at the first call. */
  open(): Promise<void>;
  /** The number of the latest event. */
  last(): number;
  /** Names a place between events to a client; means something to this process only. */
  positionOf(seq: number): string;
  /** The place that a client names; undefined where some of what came after it is not here (any more). */
  seqOf(position: string): number | undefined;
  /** The event after a number; `lost` where it is not here any more. */
  after(seq: number): RunEvent | 'lost' | undefined;
  /** Rings at each event, or at each of one run. */
  bell(runId?: string): Bell;
  close(): Promise<void>;
}

export interface RunFeedDeps {
  readonly bus: Pick<Bus, 'listen'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'hex'>;
  /** Events that are kept. @default 10000 */
  readonly maxEvents?: number;
  /** Characters of the events that are kept. @default 4 Mi */
  readonly maxChars?: number;
}

export function createRunFeed(deps: RunFeedDeps): RunFeed {
  const { maxEvents = 10_000, maxChars = 4_194_304 } = deps;
  const epoch = deps.random.hex(6);
  const kept = new Map<number, RunEvent>();
  const bells = new Set<{ readonly runId: string | undefined; readonly bell: Bell }>();
  let last = 0;
  let oldest = 1;
  let chars = 0;
  let listening: Promise<{ stop(): Promise<void> }> | undefined;

  const add = (change: RunChanged): void => {
    last += 1;
    const event = eventOf(change, last);
    kept.set(last, event);
    chars += event.data.length;
    while (oldest < last && (kept.size > maxEvents || chars > maxChars)) {
      chars -= kept.get(oldest)?.data.length ?? 0;
      kept.delete(oldest);
      oldest += 1;
    }
    for (const { runId, bell } of bells) if (runId === undefined || runId === event.runId) bell.ring();
  };
  // A number without an event: whoever reads past it is told that something is lost.
  const gap = (): void => {
    last += 1;
    for (const { bell } of bells) bell.ring();
  };
  return {
    open: async () => {
      listening ??= deps.bus.listen(runChangedNames, ({ payload }) => add(payload as RunChanged), gap);
      try {
        await listening;
      } catch (error) {
        listening = undefined;
        throw error;
      }
    },
    last: () => last,
    positionOf: (seq) => `${epoch}.${seq}`,
    seqOf: (position) => {
      const [, process, digits = ''] = /^([0-9a-f]+)\.(\d{1,15})$/.exec(position) ?? [];
      const seq = Number(digits);
      return process === epoch && seq <= last && seq + 1 >= oldest ? seq : undefined;
    },
    after: (seq) => (seq >= last ? undefined : (kept.get(seq + 1) ?? 'lost')),
    bell: (runId) => {
      const entry = { runId, bell: createBell(deps.clock, () => bells.delete(entry)) };
      bells.add(entry);
      return entry.bell;
    },
    close: async () => {
      const listener = await listening?.catch(() => undefined);
      await listener?.stop();
    },
  };
}

function eventOf(change: RunChanged, seq: number): RunEvent {
  const { run_id: runId, service, service_uid: serviceUid, state, attempt, at } = change;
  return {
    seq,
    runId,
    service,
    serviceUid,
    state,
    attempt,
    at,
    final: isFinal(state),
    data: runEventData(change),
  };
}

/** What a stream says of a run's state. */
export function runEventData(
  run: Pick<RunChanged, 'run_id' | 'service' | 'state' | 'attempt' | 'at' | 'exit_code' | 'failure'>,
): string {
  const { run_id, service, state, attempt, at, exit_code, failure } = run;
  return JSON.stringify(
    dropAbsent({ run_id, service, state, attempt, at: wireTime(at), exit_code, failure }),
  );
}
