import { isFinal, type Run, type RunState } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { encodeServerEvent } from '../../domain/server-event.ts';
import { runEventData, type RunEvent, type RunFeed } from './run-feed.ts';

/** What every stream gets from the edge. */
export interface Following {
  /** Aborted when the client has gone or the server stops. */
  readonly signal: AbortSignal;
  /** A stream that has nothing to say says so this often. */
  readonly heartbeatMs: number;
}

export interface FollowDeps {
  readonly feed: RunFeed;
  readonly clock: Clock;
}

/** Milliseconds that a client waits before it comes again. */
const retryMs = 2000;
/** Comes after a final state: the id tells a client's next call that there is no more. */
export const endId = 'end';

/**
 * Changes of all runs that `wanted` lets through, from a position on. Where some of what came after the position is not known
 * any more, `reset` says so once: the client lists runs anew and goes on reading, and misses nothing that way.
 * The reader sets the pace: one that falls so far behind that its next event is not kept any more gets a `reset`.
 */
export async function* followRuns(
  wanted: (event: RunEvent) => boolean,
  position: string | undefined,
  deps: FollowDeps,
  { signal, heartbeatMs }: Following,
): AsyncGenerator<string> {
  const { feed, clock } = deps;
  await feed.open();
  const known = position === undefined ? feed.last() : feed.seqOf(position);
  let seq = known ?? feed.last();
  const bell = feed.bell();
  try {
    yield encodeServerEvent({ retry: retryMs, id: feed.positionOf(seq) });
    if (known === undefined) yield reset(feed.positionOf(seq));
    let said = clock.monotonic();
    while (!signal.aborted) {
      const event = feed.after(seq);
      if (event === 'lost') {
        seq = feed.last();
        yield reset(feed.positionOf(seq));
        said = clock.monotonic();
      } else if (event === undefined) {
        const left = said + heartbeatMs - clock.monotonic();
        if (left > 0) await bell.wait(left, signal);
        if (signal.aborted || clock.monotonic() < said + heartbeatMs) continue;
        // The id keeps the position of a client near the end that has seen nothing that it wanted for long.
        yield heartbeat(feed.positionOf(seq));
        said = clock.monotonic();
      } else {
        seq = event.seq;
        if (!wanted(event)) continue;
        yield encodeServerEvent({ event: 'run', id: feed.positionOf(seq), data: event.data });
        said = clock.monotonic();
      }
    }
  } finally {
    bell.stop();
  }
}

function reset(id: string): string {
  return encodeServerEvent({
    event: 'reset',
    id,
    data: JSON.stringify({ reason: 'Some changes are not known here any more: list the runs anew.' }),
  });
}

export function heartbeat(id?: string): string {
  return encodeServerEvent({ comment: 'alive', ...(id === undefined ? {} : { id }) });
}

/** The last word of a stream about one run. */
function end(run: Run): string {
  return encodeServerEvent({ event: 'end', id: endId, data: runStateData(run) });
}

/** What an event says of a run's present state. */
export function runStateData(run: Run): string {
  const { id, service, state, attempt, exit_code, failure } = run;
  return runEventData({
    run_id: id,
    service,
    state,
    attempt,
    at: run.timeline.at(-1)?.at ?? run.created_at,
    ...(exit_code === undefined ? {} : { exit_code }),
    ...(failure === undefined ? {} : { failure }),
  });
}

const order: Readonly<Record<RunState, number>> = {
  queued: 0,
  starting: 1,
  running: 2,
  succeeded: 3,
  failed: 3,
  cancelled: 3,
  superseded: 3,
};

/**
 * The states of one run: the one that it is in, then each change, then `end` with the final one. From a position that is known
 * here it is what came after it. The ledger is asked now and then: events are quick, but may be missed.
 */
export async function* followRun(
  run: Run,
  position: string | undefined,
  deps: FollowDeps & { readonly read: (id: string) => Promise<Run | undefined> },
  { signal, heartbeatMs }: Following,
): AsyncGenerator<string> {
  const { feed, clock } = deps;
  await feed.open();
  const bell = feed.bell(run.id);
  try {
    const resumed = position === undefined ? undefined : feed.seqOf(position);
    let seq = resumed ?? feed.last();
    yield encodeServerEvent({ retry: retryMs, id: feed.positionOf(seq) });
    let now = await deps.read(run.id);
    let stale = resumed === undefined ? asOf(now, clock) : undefined;
    if (stale !== undefined) yield stateEvent(stale.run, feed.positionOf(seq));
    let said = clock.monotonic();
    while (!signal.aborted && now !== undefined) {
      const event = feed.after(seq);
      if (event === 'lost') {
        seq = feed.last();
        now = await deps.read(run.id);
        stale = asOf(now, clock);
        if (stale !== undefined) yield stateEvent(stale.run, feed.positionOf(seq));
      } else if (event !== undefined) {
        seq = event.seq;
        if (event.runId !== run.id || isStale(event, stale)) continue;
        yield encodeServerEvent({ event: 'run', id: feed.positionOf(seq), data: event.data });
        if (event.final) now = await deps.read(run.id);
      } else if (isFinal(now.state)) {
        yield end(now);
        return;
      } else if (clock.monotonic() < said + heartbeatMs) {
        await bell.wait(said + heartbeatMs - clock.monotonic(), signal);
        continue;
      } else {
        yield heartbeat(feed.positionOf(seq));
        now = await deps.read(run.id);
      }
      said = clock.monotonic();
    }
  } finally {
    bell.stop();
  }
}

interface AsOf {
  readonly run: Run;
  readonly at: number;
}

function asOf(run: Run | undefined, clock: Clock): AsOf | undefined {
  return run === undefined ? undefined : { run, at: clock.now() };
}

function stateEvent(run: Run, id: string): string {
  return encodeServerEvent({ event: 'run', id, data: runStateData(run) });
}

/** Events may come later than the ledger's answer: those that it covers are left out. */
function isStale(event: RunEvent, known: AsOf | undefined): boolean {
  if (known === undefined || event.at > known.at) return false;
  const { attempt, state } = known.run;
  return event.attempt < attempt || (event.attempt === attempt && order[event.state] <= order[state]);
}
